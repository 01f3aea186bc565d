#include "common_chat.h"

#include "chat.h"
#include "chat_continue.h"
#include "chat_turn.h"
#include "jinja_check.h"
#ifndef LLAMA_SHIM_SILENCE_COMMON_LOG
#    include "jinja_budget.h"
#endif
#include "schema_check.h"
#include "text.h"

#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

struct llama_shim_chat_templates {
    common_chat_templates_ptr inner;
};

namespace {

// Runs code that executes templates within a budget.
#ifdef LLAMA_SHIM_SILENCE_COMMON_LOG
// A prebuilt common library has its own parser, whose templates have no budget. It calls std::localtime for the date,
// which has one buffer for all threads.
template <typename F> auto within(llama_shim_template_budget *, F && body) {
    static std::mutex mutex;
    const std::lock_guard<std::mutex> lock(mutex);
    return body();
}
#else
template <typename F> auto within(llama_shim_template_budget * limits, F && body) {
    try {
        const llama_shim::template_budget budget(limits);
        return body();
    } catch (const llama_shim::template_breach &) {
        throw std::runtime_error("the template has reached a limit");
    }
}
#endif

common_json parse_object(const char * text, size_t length) {
    llama_shim::silence_log();
    common_json json = llama_shim::parse_json(text, length);
    if (!json.is_object()) {
        throw std::invalid_argument("the JSON is not an object");
    }
    return json;
}

common_json field(const common_json & object, const char * name, const common_json & missing) {
    const common_json value = object.value(name, missing);
    return value.is_null() ? missing : value;
}

bool flag(const common_json & object, const char * name, bool missing) {
    const common_json value = field(object, name, common_json(missing));
    if (!value.is_boolean()) {
        throw std::invalid_argument(std::string("\"") + name + "\" is not true or false");
    }
    return value.get<bool>();
}

std::string text(const common_json & object, const char * name) {
    const common_json value = field(object, name, common_json(""));
    if (!value.is_string()) {
        throw std::invalid_argument(std::string("\"") + name + "\" is not a text");
    }
    return value.get<std::string>();
}

// Checks all templates that the common library will parse, because it reports errors only to its log.
void check_templates(const llama_model * model, const std::string & given) {
    if (!given.empty()) {
        llama_shim::check_template(given);
    }
    if (model == nullptr) {
        return;
    }
    for (const char * name : { static_cast<const char *>(nullptr), "tool_use", "tts" }) {
        const char * own = llama_model_chat_template(model, name);
        if (own != nullptr && (name != nullptr || given.empty())) {
            llama_shim::check_template(own);
        }
    }
}

// Returns whether the common library sets the variable, which the caller's value would replace.
bool is_reserved(const std::string & name) {
    return name == "messages" || name == "tools" || name == "bos_token" || name == "eos_token" ||
           name == "add_generation_prompt" || name == "enable_thinking";
}

common_chat_templates_inputs inputs(const common_json & request) {
    common_chat_templates_inputs inputs;
    inputs.messages    = common_chat_msgs_parse_oaicompat(field(request, "messages", common_json::array()));
    llama_shim::check_tools_size(field(request, "tools", common_json::array()));
    inputs.tools       = common_chat_tools_parse_oaicompat(field(request, "tools", common_json::array()));
    const std::string tool_choice = text(request, "tool_choice");
    if (!tool_choice.empty()) {
        inputs.tool_choice = common_chat_tool_choice_parse_oaicompat(tool_choice);
    }
    inputs.parallel_tool_calls    = flag(request, "parallel_tool_calls", false);
    inputs.add_generation_prompt  = flag(request, "add_generation_prompt", true);
    inputs.continue_final_message = common_chat_continuation_parse(request.value("continue_final_message", common_json()));
    inputs.enable_thinking        = flag(request, "enable_thinking", true);
    inputs.reasoning_format = flag(request, "extract_reasoning", true) ? COMMON_REASONING_FORMAT_AUTO
                                                                       : COMMON_REASONING_FORMAT_NONE;
    inputs.grammar = text(request, "grammar");
    const common_json schema = request.value("json_schema", common_json());
    if (!schema.is_null() && !schema.is_object()) {
        throw std::invalid_argument("\"json_schema\" is not an object");
    }
    if (!schema.is_null()) {
        llama_shim::check_schema_size(schema);
        inputs.json_schema = schema.dump();
    }
    const common_json kwargs = field(request, "template_kwargs", common_json::object());
    if (!kwargs.is_object()) {
        throw std::invalid_argument("\"template_kwargs\" is not an object");
    }
    for (const auto & [name, value] : kwargs.items()) {
        if (is_reserved(name)) {
            throw std::invalid_argument("\"template_kwargs\" has \"" + name + "\", which the request has a field for");
        }
        inputs.chat_template_kwargs[name] = value.dump();
    }
    // Templates may assume true when the variable is missing, and the common library does not set it when it is
    // false.
    inputs.chat_template_kwargs["add_generation_prompt"] = "false";
    return inputs;
}

const char * trigger_name(common_grammar_trigger_type type) {
    switch (type) {
        case COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN:        return "token";
        case COMMON_GRAMMAR_TRIGGER_TYPE_WORD:         return "word";
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN:      return "pattern";
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL: return "pattern_full";
    }
    throw std::logic_error("a grammar trigger of an unknown type");
}

common_json describe(const common_chat_params & params) {
    common_json prompt = common_json::array();
    for (const auto & part : params.prompt.parts) {
        prompt.push_back({ { "text", part.text }, { "is_input", part.is_input } });
    }
    common_json triggers = common_json::array();
    for (const auto & trigger : params.grammar_triggers) {
        triggers.push_back({ { "type", trigger_name(trigger.type) }, { "value", trigger.value } });
    }
    common_json delimiters = common_json::array();
    for (const auto & delimiter : params.message_delimiters.delimiters) {
        delimiters.push_back({ { "role", common_chat_role_to_string(delimiter.role) }, { "text", delimiter.delimiter } });
    }
    return common_json::object({
        { "prompt",             prompt                                  },
        { "format",             common_chat_format_name(params.format)  },
        { "generation_prompt",  params.generation_prompt                },
        { "supports_thinking",  params.supports_thinking                },
        { "thinking_start_tag", params.thinking_start_tag               },
        { "thinking_end_tags",  params.thinking_end_tags                },
        { "grammar",            params.grammar                          },
        { "grammar_lazy",       params.grammar_lazy                     },
        { "grammar_triggers",   triggers                                },
        { "preserved_tokens",   params.preserved_tokens                 },
        { "additional_stops",   params.additional_stops                 },
        { "delimiters",         delimiters                              },
    });
}

// Templates cut texts at bytes, and models end in the middle of a character, so invalid UTF-8 is replaced.
char * answer(const common_json & json) {
    return llama_shim::copy_string(json.dump_safe());
}

} // namespace

extern "C" llama_shim_chat_templates * llama_shim_chat_templates_init(
        const llama_model * model, const char * options, size_t length, llama_shim_template_budget * budget) {
    const common_json json = parse_object(options, length);
    const std::string source = text(json, "template");
    if (source.empty() && model == nullptr) {
        throw std::invalid_argument("there is neither a model nor the text of a template");
    }
    check_templates(model, source);
    auto templates = std::make_unique<llama_shim_chat_templates>();
    within(budget, [&] {
        templates->inner = common_chat_templates_init(model, source, text(json, "bos_token"), text(json, "eos_token"));
    });
    return templates.release();
}

extern "C" bool llama_shim_template_budget_holds(void) {
#ifdef LLAMA_SHIM_SILENCE_COMMON_LOG
    return false;
#else
    return true;
#endif
}

extern "C" char * llama_shim_chat_templates_describe(const llama_shim_chat_templates * templates) {
    const common_chat_templates * inner = templates->inner.get();
    const std::string tool_use = common_chat_templates_source(inner, "tool_use");
    return answer(common_json::object({
        { "source",      common_chat_templates_source(inner)                         },
        { "tool_use",    tool_use.empty() ? common_json() : common_json(tool_use)    },
        { "is_explicit", common_chat_templates_was_explicit(inner)                   },
        { "caps",        common_chat_templates_get_caps(inner)                       },
    }));
}

extern "C" void llama_shim_chat_templates_free(llama_shim_chat_templates * templates) {
    delete templates;
}

extern "C" llama_shim_chat_turn * llama_shim_chat_templates_apply(
        const llama_shim_chat_templates * templates, const char * request, size_t length,
        llama_shim_template_budget * budget) {
    const common_chat_templates_inputs conversation = inputs(parse_object(request, length));
    if (conversation.messages.empty()) {
        throw std::invalid_argument("there are no messages");
    }
    auto turn = std::make_unique<llama_shim_chat_turn>();
    within(budget, [&] {
        turn->params = common_chat_templates_apply(templates->inner.get(), conversation);
        // Answers are parsed with the beginning that the common library continues.
        turn->parser = common_chat_parser_params(turn->params);
        if (conversation.continue_final_message != COMMON_CHAT_CONTINUATION_NONE) {
            llama_shim::continue_answer(templates->inner.get(), conversation, turn->params);
        }
    });
    turn->parser.parser = std::move(turn->params.parser);
    return turn.release();
}

extern "C" char * llama_shim_chat_turn_describe(const llama_shim_chat_turn * turn) {
    return answer(describe(turn->params));
}

extern "C" char * llama_shim_chat_turn_parse(
        const llama_shim_chat_turn * turn, const char * text, size_t length, bool is_partial) {
    const common_chat_msg message =
        common_chat_parse(common_chat_input(std::string(text, length)), is_partial, turn->parser);
    common_json calls = common_json::array();
    for (const auto & call : message.tool_calls) {
        calls.push_back({ { "name", call.name }, { "arguments", call.arguments }, { "id", call.id } });
    }
    return answer(common_json::object({
        { "content",           message.content           },
        { "reasoning_content", message.reasoning_content },
        { "tool_calls",        calls                     },
    }));
}

extern "C" void llama_shim_chat_turn_free(llama_shim_chat_turn * turn) {
    delete turn;
}
