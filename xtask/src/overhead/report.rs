//! The figures, with the functions that take the instructions.

use std::fmt::Write as _;

use super::callgrind::Profile;

/// The profiles of one run of the command.
pub(super) struct Report {
    /// Through the C API, with a reused batch object.
    pub(super) sys: Profile,
    /// Through the C API, with `llama_decode`.
    pub(super) arrays: Profile,
    pub(super) core: Profile,
    /// The instructions of `Logits::argmax`.
    pub(super) argmax: f64,
    /// The number of logits that it chooses from.
    pub(super) n_vocab: u32,
}

impl Report {
    /// Returns the instructions of the safe layer beyond those of a typical program over the C API.
    pub(super) fn overhead(&self) -> f64 {
        self.core.total() - self.arrays.total()
    }

    pub(super) fn to_string(&self, functions: usize, pin: &str) -> String {
        let mut text =
            String::from("| one step through | instructions | `llama-core`'s are |\n|---|---:|---:|\n");
        let core = self.core.total();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `llama-core` | {core:.0} | |");
        for (name, profile) in [
            ("`llama-sys`, `llama_decode`", &self.arrays),
            ("`llama-sys`, `llama_process` of a batch object that is kept", &self.sys),
        ] {
            let other = profile.total();
            let _ = writeln!(text, "| {name} | {other:.0} | **{:+.0}** |", core - other);
        }
        let added = self.core.less(&self.sys);
        let _ = writeln!(
            text,
            "\n| in `llama-core`'s step and not in the leaner one | instructions |\n|---|---:|"
        );
        let largest = added.largest(functions);
        let rest = added.total() - largest.iter().map(|(_, cost)| cost).sum::<f64>();
        for (function, cost) in largest {
            let _ = writeln!(text, "| `{}` | {cost:.0} |", shortened(function));
        }
        let _ = writeln!(text, "| all others, less the leaner step's own loop | {rest:.0} |\n");
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

/// Shortens a function's name to fit into a table.
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
    fn the_report_has_the_differences_and_where_they_are() {
        let core = "fn=(1) llama_core::context::decode\n1 200\nfn=(2) small\n1 40\nfn=(3) shared\n1 10\n";
        let report = Report {
            sys: profile("fn=(1) steps\n1 44\nfn=(3) shared\n1 10\n"),
            arrays: profile("fn=(1) llama_decode\n1 300\n"),
            core: profile(core),
            argmax: 1000.0,
            n_vocab: 512,
        };
        assert_eq!(report.overhead(), -50.0);
        let text = report.to_string(1, "x 1.0");
        for line in [
            "| `llama-core` | 250 | |\n| `llama-sys`, `llama_decode` | 300 | **-50** |\n",
            "that is kept | 54 | **+196** |\n",
            "| `context::decode` | 200 |\n| all others, less the leaner step's own loop | -4 |\n",
            "`Logits::argmax` takes 1000 for 512 logits.",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(shortened(&"x".repeat(200)).ends_with("x…"));
    }
}
