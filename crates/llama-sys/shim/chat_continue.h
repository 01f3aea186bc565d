// Continues the last answer of a conversation.

#pragma once

#include "chat.h"

namespace llama_shim {

// Replaces the prompt in `params` by one that ends in the last message of the conversation, an answer, as the template
// itself writes it. The common library puts the answer behind what it takes the beginning of an answer to be, which is
// wrong where a template writes something else at the end of a conversation, or thoughts where there are none.
void continue_answer(
    const common_chat_templates * templates, const common_chat_templates_inputs & conversation,
    common_chat_params & params);

} // namespace llama_shim
