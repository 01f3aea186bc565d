// The data that a rendered conversation keeps for the functions that parse its answer. C++ only.

#pragma once

#include "chat.h"

struct llama_shim_chat_turn {
    common_chat_params        params;
    common_chat_parser_params parser;
};
