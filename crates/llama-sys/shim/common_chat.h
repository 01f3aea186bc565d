// Chat templates of llama.cpp's common library: conversations to prompts, answers to messages. JSON in, JSON out; the
// Rust types are in llama-core and llama-gen. Built with feature `common`.
//
// Every function but those that free may throw; call it inside llama_shim_guard. Texts have a length and need not end
// in NUL. Strings that are returned are NUL-terminated JSON and owned by the caller: llama_shim_string_free.

#pragma once

#include "template_budget.h"

#include "llama.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// A chat template that is parsed, and of which is known what it can do. Not changed by its functions: several threads
// may use it.
typedef struct llama_shim_chat_templates llama_shim_chat_templates;

// A conversation as a template renders it, and how the answer to it is to be read. The same holds for its functions.
typedef struct llama_shim_chat_turn llama_shim_chat_turn;

// Makes the template of `model`, or, with "template" in the options, of that text. The model may be NULL then and need
// not live longer than the call.
//
// options: {"template": text or null, "bos_token": text, "eos_token": text}; the tokens are those of the model if there
// is one. Throws for a text that is no template, with what is wrong and where, and for one that reaches a limit of the
// budget, which then says which.
llama_shim_chat_templates * llama_shim_chat_templates_init(
    const struct llama_model * model, const char * options, size_t length, llama_shim_template_budget * budget);

// Whether templates keep to their budgets: those of a prebuilt common library do not.
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
// text, "template_kwargs": {name: any}}. All but the messages may be missing. Throws for what the template refuses, and
// at a limit of the budget, which then says which.
llama_shim_chat_turn * llama_shim_chat_templates_apply(
    const llama_shim_chat_templates * templates, const char * request, size_t length,
    llama_shim_template_budget * budget);

// {"prompt": [{"text": text, "is_input": bool}], "format": text, "generation_prompt": text, "supports_thinking": bool,
// "thinking_start_tag": text, "thinking_end_tags": [text], "grammar": text, "grammar_lazy": bool, "grammar_triggers":
// [{"type": "token", "word", "pattern" or "pattern_full", "value": text}], "preserved_tokens": [text],
// "additional_stops": [text], "delimiters": [{"role": text, "text": text}]}.
char * llama_shim_chat_turn_describe(const llama_shim_chat_turn * turn);

// Reads an answer of `length` bytes, or the beginning of one: {"content": text, "reasoning_content": text,
// "tool_calls": [{"name": text, "arguments": text, "id": text}]}. Throws for one that is not of the template's format.
char * llama_shim_chat_turn_parse(
    const llama_shim_chat_turn * turn, const char * text, size_t length, bool is_partial);

// The grammar that an answer is read by: {"root": index or null, "nodes": [{"kind": text, ..}]}. A node is a parser of
// llama.cpp's peg-parser.h with the fields that its kind has; children are indices of nodes. References, schemas and
// grammars of their own are nodes of kind "same", which are read as their child. Without a root an answer is all content.
char * llama_shim_chat_turn_grammar(const llama_shim_chat_turn * turn);

void llama_shim_chat_turn_free(llama_shim_chat_turn * turn);

#ifdef __cplusplus
}
#endif
