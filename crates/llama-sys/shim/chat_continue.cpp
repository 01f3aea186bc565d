#include "chat_continue.h"

#include <algorithm>
#include <random>
#include <stdexcept>
#include <string>

namespace {

// Returns digits, which no template trims or escapes and which cannot be guessed.
std::string unguessable() {
    std::random_device device;
    std::string digits;
    for (int i = 0; i < 4; ++i) {
        const std::string number = std::to_string(device());
        digits += std::string(10 - std::min<size_t>(number.size(), 10), '0') + number;
    }
    return digits;
}

bool starts_with(const std::string & text, const std::string & beginning) {
    return text.compare(0, beginning.size(), beginning) == 0;
}

bool is_reasoning(const common_chat_templates_inputs & conversation) {
    const common_chat_msg & answer = conversation.messages.back();
    switch (conversation.continue_final_message) {
        case COMMON_CHAT_CONTINUATION_REASONING:
            return true;
        case COMMON_CHAT_CONTINUATION_CONTENT:
            return false;
        default:
            return !answer.reasoning_content.empty() && answer.content.empty() && answer.content_parts.empty();
    }
}

std::string & continued_text(common_chat_msg & answer, bool reasoning) {
    if (reasoning) {
        return answer.reasoning_content;
    }
    return answer.content_parts.empty() ? answer.content : answer.content_parts.back().text;
}

common_chat_prompt render(const common_chat_templates * templates, common_chat_templates_inputs conversation, bool begin) {
    conversation.continue_final_message = COMMON_CHAT_CONTINUATION_NONE;
    conversation.add_generation_prompt  = begin;
    return common_chat_templates_apply(templates, conversation).prompt;
}

// Cuts the prompt to the parts before the marker. Returns false unless the marker occurs exactly once.
bool cut_at(common_chat_prompt & prompt, const std::string & marker) {
    const std::string text = prompt.str();
    const size_t at = text.find(marker);
    if (at == std::string::npos || text.find(marker, at + 1) != std::string::npos) {
        return false;
    }
    size_t left = at;
    common_chat_prompt before;
    for (const auto & part : prompt.parts) {
        const size_t length = std::min(left, part.text.size());
        before.append(part.text.substr(0, length), part.is_input);
        left -= length;
    }
    prompt = std::move(before);
    return true;
}

// Puts reasoning that the template does not show in a finished answer where the template makes the model reason.
common_chat_prompt behind_the_beginning(
        const common_chat_prompt & begun, const std::string & before, const std::string & thoughts,
        const common_chat_params & params) {
    const std::string text = begun.str();
    const auto same = std::mismatch(before.begin(), before.end(), text.begin(), text.end());
    const std::string beginning(same.second, text.end());
    const size_t opened = params.thinking_start_tag.empty() ? std::string::npos : beginning.rfind(params.thinking_start_tag);
    for (const auto & end : params.thinking_end_tags) {
        if (opened != std::string::npos && beginning.find(end, opened) != std::string::npos) {
            throw std::runtime_error("the chat template begins the answer behind its thoughts: they cannot be continued");
        }
    }
    if (params.thinking_start_tag.empty()) {
        throw std::runtime_error("the chat template has no place for thoughts: they cannot be continued");
    }
    common_chat_prompt prompt = begun;
    if (opened == std::string::npos) {
        prompt.append(params.thinking_start_tag + "\n", false);
    }
    prompt.append(thoughts, true);
    return prompt;
}

} // namespace

void llama_shim::continue_answer(
        const common_chat_templates * templates, const common_chat_templates_inputs & conversation,
        common_chat_params & params) {
    const common_chat_msg & answer = conversation.messages.back();
    if (answer.role != "assistant") {
        throw std::invalid_argument("the last message is of the role " + answer.role + ", and only an answer can be continued");
    }
    if (!answer.tool_calls.empty()) {
        throw std::invalid_argument("the last message calls tools: it cannot be continued");
    }
    const bool reasoning = is_reasoning(conversation);
    common_chat_templates_inputs before = conversation;
    before.messages.pop_back();
    const bool is_alone = before.messages.empty();
    const common_chat_prompt begun = is_alone ? common_chat_prompt() : render(templates, before, true);
    const std::string closed = is_alone ? "" : render(templates, before, false).str();

    const std::string marker = unguessable();
    common_chat_templates_inputs marked = conversation;
    continued_text(marked.messages.back(), reasoning) += marker;
    common_chat_prompt prompt = render(templates, marked, false);
    const bool is_shown = cut_at(prompt, marker);
    if (!is_shown && !reasoning) {
        throw std::runtime_error("the chat template does not show the answer once and as it is: it cannot be continued");
    }
    if (!is_shown) {
        prompt = behind_the_beginning(begun, closed, answer.reasoning_content, params);
    }
    const std::string text = prompt.str();
    const std::string first = begun.str();
    if (!starts_with(text, first) && !starts_with(text, closed)) {
        throw std::runtime_error("the chat template writes the conversation before the answer otherwise when the answer "
                                 "follows: it cannot be continued");
    }
    const std::string & known = params.generation_prompt;
    const bool fits = known.size() <= text.size() && text.compare(text.size() - known.size(), known.size(), known) == 0;
    if (!fits) {
        const auto same = std::mismatch(closed.begin(), closed.end(), text.begin(), text.end());
        params.generation_prompt.assign(same.second, text.end());
    }
    params.prompt = std::move(prompt);
}
