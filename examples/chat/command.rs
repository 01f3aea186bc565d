//! The commands, which begin with a slash.

use std::path::PathBuf;

use llama_gen::chat::{Chat, Role};

/// A command, which begins with a slash.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    History,
    Undo,
    Redo,
    Retry,
    System(Option<String>),
    Think(bool),
    Save(PathBuf),
    Load(PathBuf),
    Quit,
}

/// The next action after a command.
pub(crate) enum Then {
    Ask(String),
    Say(String),
    Quit,
}

const HELP: &str = "\
/history       what was said
/undo          take the last turn back
/redo          put it back
/retry         have the last question answered again
/system TEXT   what the model is told before the conversation; nothing without a text
/think on|off  whether the model thinks before it answers, if it can
/save FILE     save the conversation, with the model's memory of it
/load FILE     go on with a saved one
/quit          so does Ctrl-D";

impl Command {
    /// Parses a line. Returns `None` when it is not a command.
    pub(crate) fn parse(line: &str) -> Result<Option<Self>, String> {
        let Some(command) = line.trim().strip_prefix('/') else { return Ok(None) };
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        let file = || match rest {
            "" => Err(format!("/{name} needs the name of a file")),
            name => Ok(PathBuf::from(name)),
        };
        Ok(Some(match name {
            "help" => Self::Help,
            "history" => Self::History,
            "undo" => Self::Undo,
            "redo" => Self::Redo,
            "retry" => Self::Retry,
            "system" => Self::System((!rest.is_empty()).then(|| rest.to_owned())),
            "think" => match rest {
                "on" => Self::Think(true),
                "off" => Self::Think(false),
                _ => return Err("it is /think on or /think off".to_owned()),
            },
            "save" => Self::Save(file()?),
            "load" => Self::Load(file()?),
            "quit" | "exit" => Self::Quit,
            _ => return Err(format!("there is no /{name}: /help shows what there is")),
        }))
    }

    pub(crate) fn run(self, chat: &mut Chat) -> Result<Then, llama_gen::Error> {
        let turns = |chat: &Chat| format!("{} turns", chat.n_turns());
        Ok(Then::Say(match self {
            Self::Help => HELP.to_owned(),
            Self::History => history(chat),
            Self::Undo if chat.undo() => turns(chat),
            Self::Undo => "there is nothing to undo".to_owned(),
            Self::Redo if chat.redo() => turns(chat),
            Self::Redo => "there is nothing to redo".to_owned(),
            Self::Retry => {
                let last = chat.messages().filter(|message| message.role == Role::User).last();
                let question = last.map(llama_gen::chat::Message::text);
                match question {
                    Some(question) if chat.undo() => return Ok(Then::Ask(question)),
                    _ => "there is nothing to answer again".to_owned(),
                }
            }
            Self::System(system) => {
                chat.set_system(system);
                "from the next turn on".to_owned()
            }
            Self::Think(thinking) => {
                chat.set_thinking(thinking);
                "from the next turn on".to_owned()
            }
            Self::Save(path) => {
                chat.save(&path)?;
                format!("saved as {}", path.display())
            }
            Self::Load(path) => {
                *chat = Chat::load(chat.llama(), &path)?;
                turns(chat)
            }
            Self::Quit => return Ok(Then::Quit),
        }))
    }
}

fn history(chat: &Chat) -> String {
    let system = chat.system().map(|system| format!("[system] {system}"));
    let said = chat.messages().map(|message| format!("[{}] {}", message.role, message.text()));
    let lines: Vec<String> = system.into_iter().chain(said).collect();
    if lines.is_empty() { "nothing was said yet".to_owned() } else { lines.join("\n") }
}
