//! Separates the complete calls of an answer from the others, and describes the problems.

use super::call::{self, Call, Span};
use super::reader::{Mark, Reader};
use crate::chat::message::ToolCall;

/// The most characters of arguments that a message quotes.
const MAX_QUOTE: usize = 200;

/// Returns the complete calls of an answer, and the problems of the calls.
pub(super) fn judge(
    reader: &Reader,
    mark: &Mark,
    input: &str,
    offered: &[String],
) -> (Vec<ToolCall>, Vec<String>) {
    let (mut calls, mut problems) = (Vec::new(), Vec::new());
    for (call, span) in reader.calls(mark, 0) {
        let problem = match whole(reader, &call, span, input) {
            Ok(call) => {
                let problem = (!offered.contains(&call.name)).then(|| not_offered(&call.name, offered));
                calls.push(call);
                problem
            }
            Err(problem) => Some(problem),
        };
        if let Some(problem) = problem.filter(|problem| !problems.contains(problem)) {
            problems.push(problem);
        }
    }
    (calls, problems)
}

fn whole(reader: &Reader, call: &Call, (from, to): Span, input: &str) -> Result<ToolCall, String> {
    let (name, id) = (name(reader, call), reader.names.slice(call.id.0, call.id.1));
    if let Some((from, to)) = call.odd {
        let arguments = quote(input[from..to].trim());
        return Err(format!(
            "the arguments of a call of the tool {name:?} are {arguments}, but must be a JSON object"
        ));
    }
    let arguments = reader.arguments.slice(from, to);
    if !call.is_whole {
        return Err(format!("a call of the tool {name:?} is incomplete"));
    }
    match call::is_object(&arguments) {
        Ok(()) => Ok(ToolCall::new(id, name, arguments)),
        Err(error) => {
            let arguments = quote(&arguments);
            Err(format!(
                "the arguments of a call of the tool {name:?} are {arguments}, but must be a JSON object: {error}"
            ))
        }
    }
}

/// Returns the name of the called tool, empty when it is not known yet.
pub(super) fn name(reader: &Reader, call: &Call) -> String {
    call.name.map_or_else(String::new, |(from, to)| reader.names.slice(from, to))
}

fn not_offered(name: &str, offered: &[String]) -> String {
    let offered: Vec<String> = offered.iter().map(|name| format!("{name:?}")).collect();
    format!("the called tool is {name:?}, but must be one of the offered tools: {}", offered.join(", "))
}

fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTE) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
