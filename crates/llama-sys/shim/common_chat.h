// Chat templates of llama.cpp's common library: conversations to prompts, answers to messages. JSON in, JSON out; the
// Rust types are in llama-core and llama-gen. Built with feature `common`.
//
// Every function except those that free may throw; call it inside llama_shim_guard. Texts have a length and need not
// end with NUL. Returned strings are NUL-terminated JSON and owned by the caller: free them with
// llama_shim_string_free.

#pragma once

#include "template_budget.h"

#include "llama.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// A parsed chat template with its capabilities. Its functions do not change it, so several threads may use it.
typedef struct llama_shim_chat_templates llama_shim_chat_templates;

// A conversation rendered by a template, with the format of its answer. Several threads may use it too.
typedef struct llama_shim_chat_turn llama_shim_chat_turn;

// Makes the template of `model`, or, with "template" in the options, of that text. In that case the model may be
// NULL. It need not live longer than the call.
//
// options: {"template": text or null, "bos_token": text, "eos_token": text}; with a model the tokens are the model's.
// Throws for a text that is not a template, with the error and its place, and for a template that reaches a limit of
// the budget, which then contains the limit.
llama_shim_chat_templates * llama_shim_chat_templates_init(
    const struct llama_model * model, const char * options, size_t length, llama_shim_template_budget * budget);

// Returns whether templates keep to their budgets. Templates of a prebuilt common library do not.
bool llama_shim_template_budget_holds(void);

// {"source": text, "tool_use": text or null, "is_explicit": bool, "caps": {name: bool, ..,
// "reasoning_effort_levels": [text]}}. `is_explicit` is false for a model without a template, for which ChatML is taken.
char * llama_shim_chat_templates_describe(const llama_shim_chat_templates * templates);

void llama_shim_chat_templates_free(llama_shim_chat_templates * templates);

// Renders a conversation.
//
// request: {"messages": [as in OpenAI's API], "tools": [the same] or null, "tool_choice": "auto", "none" or "required",
// "parallel_tool_calls": bool, "add_generation_prompt": bool, "continue_final_message": bool, "content" or
// "reasoning_content", "enable_thinking": bool, "extract_reasoning": bool, "json_schema": schema or null, "grammar":
// text, "template_kwargs": {name: any}}. All fields except the messages are optional. Throws when the template
// refuses the conversation, and at a limit of the budget, which then contains the limit.
llama_shim_chat_turn * llama_shim_chat_templates_apply(
    const llama_shim_chat_templates * templates, const char * request, size_t length,
    llama_shim_template_budget * budget);

// {"prompt": [{"text": text, "is_input": bool}], "format": text, "generation_prompt": text, "supports_thinking": bool,
// "thinking_start_tag": text, "thinking_end_tags": [text], "grammar": text, "grammar_lazy": bool, "grammar_triggers":
// [{"type": "token", "word", "pattern" or "pattern_full", "value": text}], "preserved_tokens": [text],
// "additional_stops": [text], "delimiters": [{"role": text, "text": text}]}.
char * llama_shim_chat_turn_describe(const llama_shim_chat_turn * turn);

// Parses an answer of `length` bytes, or the beginning of one: {"content": text, "reasoning_content": text,
// "tool_calls": [{"name": text, "arguments": text, "id": text}]}. Throws when it does not fit the template's format.
char * llama_shim_chat_turn_parse(
    const llama_shim_chat_turn * turn, const char * text, size_t length, bool is_partial);

// Returns the grammar for parsing an answer: {"root": index or null, "nodes": [{"kind": text, ..}]}. A node is a
// parser of llama.cpp's peg-parser.h with the fields of its kind; children are indices of nodes. References, schemas
// and grammars of their own are nodes of kind "same", which are parsed as their child. Without a root the whole
// answer is content.
char * llama_shim_chat_turn_grammar(const llama_shim_chat_turn * turn);

void llama_shim_chat_turn_free(llama_shim_chat_turn * turn);

#ifdef __cplusplus
}
#endif
