// Continues the last answer of a conversation.

#pragma once

#include "chat.h"

namespace llama_shim {

// Replaces the prompt in `params` by one that ends with the last message of the conversation, an answer, as the
// template itself writes it. The common library appends the answer to its own idea of an answer's beginning, which is
// wrong when a template writes something else at the end of a conversation, or reasoning where there is none.
void continue_answer(
    const common_chat_templates * templates, const common_chat_templates_inputs & conversation,
    common_chat_params & params);

} // namespace llama_shim
