// The grammar for parsing an answer, as data: Rust interprets it while the answer streams.

#include "chat_turn.h"
#include "common_chat.h"
#include "text.h"

#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace {

common_json array_of(const std::vector<common_peg_parser_id> & ids) {
    common_json array = common_json::array();
    for (const common_peg_parser_id id : ids) {
        array.push_back(static_cast<int64_t>(id));
    }
    return array;
}

common_json array_of(const std::vector<std::string> & texts) {
    common_json array = common_json::array();
    for (const std::string & text : texts) {
        array.push_back(text);
    }
    return array;
}

common_json node(const char * kind) {
    common_json json = common_json::object();
    json["kind"]     = kind;
    return json;
}

common_json parent(const char * kind, common_peg_parser_id child) {
    common_json json = node(kind);
    json["child"]    = static_cast<int64_t>(child);
    return json;
}

// One overload for each kind of parser. A kind that another version of the library adds does not compile.
struct describe_parser {
    const common_peg_arena & arena;

    common_json operator()(const common_peg_epsilon_parser &) const { return node("epsilon"); }
    common_json operator()(const common_peg_start_parser &) const { return node("start"); }
    common_json operator()(const common_peg_end_parser &) const { return node("end"); }
    common_json operator()(const common_peg_any_parser &) const { return node("any"); }
    common_json operator()(const common_peg_space_parser &) const { return node("space"); }
    common_json operator()(const common_peg_and_parser & p) const { return parent("and", p.child); }
    common_json operator()(const common_peg_not_parser & p) const { return parent("not", p.child); }
    common_json operator()(const common_peg_atomic_parser & p) const { return parent("atomic", p.child); }
    common_json operator()(const common_peg_schema_parser & p) const { return parent("same", p.child); }
    common_json operator()(const common_peg_gbnf_parser & p) const { return parent("same", p.child); }
    common_json operator()(const common_peg_ac_parser & p) const { return parent("same", p.child); }

    common_json operator()(const common_peg_ref_parser & p) const {
        return parent("same", arena.get_rule(p.name));
    }

    common_json operator()(const common_peg_literal_parser & p) const {
        common_json json = node("literal");
        json["text"]     = p.literal;
        return json;
    }

    common_json operator()(const common_peg_sequence_parser & p) const {
        common_json json = node("sequence");
        json["children"] = array_of(p.children);
        return json;
    }

    common_json operator()(const common_peg_choice_parser & p) const {
        common_json json = node("choice");
        json["children"] = array_of(p.children);
        return json;
    }

    common_json operator()(const common_peg_repetition_parser & p) const {
        common_json json = parent("repetition", p.child);
        json["min"]      = p.min_count;
        json["max"]      = p.max_count;
        return json;
    }

    common_json operator()(const common_peg_chars_parser & p) const {
        common_json ranges = common_json::array();
        for (const auto & range : p.ranges) {
            common_json pair = common_json::array();
            pair.push_back(static_cast<int64_t>(range.start));
            pair.push_back(static_cast<int64_t>(range.end));
            ranges.push_back(pair);
        }
        common_json json = node("chars");
        json["ranges"]   = ranges;
        json["negated"]  = p.negated;
        json["min"]      = p.min_count;
        json["max"]      = p.max_count;
        return json;
    }

    common_json operator()(const common_peg_string_parser & p) const {
        common_json json  = node("string");
        json["delimiter"] = std::string(1, p.delimiter);
        return json;
    }

    common_json operator()(const common_peg_until_parser & p) const {
        common_json json   = node("until");
        json["delimiters"] = array_of(p.delimiters);
        return json;
    }

    common_json operator()(const common_peg_rule_parser & p) const {
        common_json json = parent("rule", p.child);
        json["name"]     = p.name;
        json["trigger"]  = p.trigger;
        return json;
    }

    common_json operator()(const common_peg_tag_parser & p) const {
        common_json json = parent("tag", p.child);
        json["tag"]      = p.tag;
        return json;
    }
};

} // namespace

extern "C" char * llama_shim_chat_turn_grammar(const llama_shim_chat_turn * turn) {
    const common_peg_arena & arena = turn->parser.parser;
    common_json nodes = common_json::array();
    for (common_peg_parser_id id = 0; id < arena.size(); id++) {
        nodes.push_back(std::visit(describe_parser{ arena }, arena.get(id)));
    }
    common_json json = common_json::object();
    json["nodes"]    = nodes;
    json["root"]     = arena.empty() ? common_json() : common_json(static_cast<int64_t>(arena.root()));
    return llama_shim::copy_string(json.dump_safe());
}
