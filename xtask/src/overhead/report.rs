//! The figures, and where the instructions are.

use std::fmt::Write as _;

use super::callgrind::Profile;

/// The steps of one run of the command.
pub(super) struct Report {
    sys: Profile,
    core: Profile,
    /// What `Logits::argmax` takes.
    argmax: f64,
    /// The logits that it chooses from.
    n_vocab: u32,
}

impl Report {
    pub(super) fn new(sys: Profile, core: Profile, with_argmax: &Profile, n_vocab: u32) -> Self {
        let argmax = with_argmax.total() - core.total();
        Self { sys, core, argmax, n_vocab }
    }

    /// What the safe layer adds.
    pub(super) fn overhead(&self) -> f64 {
        self.core.total() - self.sys.total()
    }

    pub(super) fn to_string(&self, functions: usize, pin: &str) -> String {
        let mut text = String::from("| one step through | instructions outside of llama.cpp |\n|---|---:|\n");
        let (core, sys) = (self.core.total(), self.sys.total());
        // Writing to a string does not fail.
        let _ = writeln!(text, "| `llama-sys` | {sys:.0} |\n| `llama-core` | {core:.0} |");
        let _ = writeln!(text, "| the difference | **{:.0}** |\n", self.overhead());
        let _ = writeln!(text, "| in `llama-core`'s step | instructions |\n|---|---:|");
        let largest = self.core.largest(functions);
        let rest = core - largest.iter().map(|(_, cost)| cost).sum::<f64>();
        for (function, cost) in largest {
            let _ = writeln!(text, "| `{}` | {cost:.0} |", shortened(function));
        }
        let _ = writeln!(text, "| all others | {rest:.0} |\n");
        let _ = write!(
            text,
            "A tiny model, one thread, llama.cpp of {pin}, {}. Choosing the token is not counted: \
             `Logits::argmax` takes {:.0} for {} logits.",
            std::env::consts::ARCH,
            self.argmax,
            self.n_vocab
        );
        text
    }
}

/// A name that fits into a table.
fn shortened(function: &str) -> String {
    const LONGEST: usize = 80;
    let name = function.replace("llama_core::", "").replace('|', "\\|");
    if name.chars().count() <= LONGEST { name } else { name.chars().take(LONGEST).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(lines: &str) -> Profile {
        Profile::parse(lines).unwrap()
    }

    #[test]
    fn the_report_has_the_difference_and_where_it_is() {
        let core =
            profile("fn=(1) llama_core::context::decode\n1 200\nfn=(2) small\n1 40\nfn=(3) smaller\n1 10\n");
        let argmax = profile("fn=(1) any\n1 1250\n");
        let report = Report::new(profile("fn=(1) steps\n1 44\n"), core, &argmax, 512);
        assert_eq!(report.overhead(), 206.0);
        let text = report.to_string(1, "x 1.0");
        for line in [
            "| `llama-sys` | 44 |\n| `llama-core` | 250 |\n| the difference | **206** |\n",
            "| `context::decode` | 200 |\n| all others | 50 |\n",
            "`Logits::argmax` takes 1000 for 512 logits.",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(shortened(&"x".repeat(200)).ends_with("x…"));
    }
}
