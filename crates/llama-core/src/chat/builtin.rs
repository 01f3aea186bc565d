//! llama.cpp's built-in chat templates, which are written in C++.

use core::ffi::{CStr, c_char};
use std::ffi::CString;

use crate::error::{ErrorKind, Result};
use crate::ffi::guard::guarded;
use crate::ffi::string::to_c;

const OPERATION: &str = "applying a built-in chat template";

/// Returns the names of the built-in chat templates, sorted. Corresponds to `llama_chat_builtin_templates`.
///
/// # Errors
///
/// Only an exception inside llama.cpp, which is not expected.
pub fn builtin_templates() -> Result<Vec<String>> {
    // SAFETY: without room for names, the function only counts them.
    let count = unsafe { guarded!(llama_chat_builtin_templates(core::ptr::null_mut(), 0)) }?;
    let mut names = vec![core::ptr::null::<c_char>(); usize::try_from(count).unwrap_or(0)];
    // SAFETY: there is room for `names.len()` names.
    unsafe { guarded!(llama_chat_builtin_templates(names.as_mut_ptr(), names.len())) }?;
    let read = |name: &*const c_char| {
        // SAFETY: the function has set each to a key of a static map (llama-chat.cpp, LLM_CHAT_TEMPLATES).
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(*name) }.to_string_lossy().into_owned())
    };
    Ok(names.iter().filter_map(read).collect())
}

/// Renders messages, each a role and a content, with a built-in template. `template` is one of
/// [`builtin_templates`], or the text of a Jinja template, which is *not* run: llama.cpp only searches it for
/// marks of a built-in template.
///
/// The result is one text, in which contents cannot be distinguished from the template's own special tokens. For
/// untrusted text, tools and reasoning use
/// [`ChatTemplates`](https://docs.rs/llama-core/latest/llama_core/struct.ChatTemplates.html) with the feature
/// `common`.
///
/// ```
/// let messages = [("user", "Hello")];
/// let prompt = llama_core::chat::apply_builtin_template("chatml", &messages, true)?;
/// assert_eq!(prompt, "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
/// # Ok::<(), llama_core::Error>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::Chat`] for no messages, for a template that llama.cpp does not know, and for a result of 2 GiB or
/// more; [`ErrorKind::InteriorNul`].
///
/// Corresponds to `llama_chat_apply_template`.
pub fn apply_builtin_template(
    template: &str,
    messages: &[(&str, &str)],
    add_generation_prompt: bool,
) -> Result<String> {
    if messages.is_empty() {
        return Err(refused("there are no messages"));
    }
    let template = to_c("template", template)?;
    let mut texts = Vec::with_capacity(messages.len());
    for (role, content) in messages {
        texts.push((to_c("role", role)?, to_c("content", content)?));
    }
    let size = texts.iter().map(|(role, content)| role.as_bytes().len() + content.as_bytes().len()).sum();
    let mut rendered = Vec::new();
    let mut room: usize = size;
    loop {
        // More than what is written: the function does not terminate the text if it fits exactly.
        rendered.resize(room.saturating_add(256), 0_u8);
        let length = render(&template, &texts, add_generation_prompt, &mut rendered)?;
        if length < rendered.len() {
            rendered.truncate(length);
            return Ok(String::from_utf8_lossy(&rendered).into_owned());
        }
        room = length;
    }
}

/// Renders into a buffer, and returns the length of the whole text, which may exceed the buffer.
fn render(template: &CString, texts: &[(CString, CString)], open: bool, to: &mut [u8]) -> Result<usize> {
    let messages: Vec<_> = texts
        .iter()
        .map(|(role, content)| llama_sys::llama_chat_message {
            role: role.as_ptr(),
            content: content.as_ptr(),
        })
        .collect();
    let room = i32::try_from(to.len()).map_err(|_| refused("the messages have 2 GiB or more"))?;
    // SAFETY: all texts are NUL-terminated and live during the call, the count is that of the messages, and the
    // buffer has the size that is passed.
    let length = unsafe {
        guarded!(llama_chat_apply_template(
            template.as_ptr(),
            messages.as_ptr(),
            messages.len(),
            open,
            to.as_mut_ptr().cast::<c_char>(),
            room,
        ))
    }?;
    usize::try_from(length).map_err(|_| {
        refused(
            "llama.cpp has no template with that name, and does not recognise it as the text of a known one",
        )
    })
}

fn refused(reason: &str) -> crate::error::Error {
    ErrorKind::Chat { operation: OPERATION, reason: reason.to_owned() }.into()
}
