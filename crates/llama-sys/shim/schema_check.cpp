#include "schema_check.h"

#include "json-schema-to-grammar.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// The common library's copies for an object grow with the cube of its optional properties. A unit takes a tenth of a
// nanosecond, so the limit is a third of a second.
constexpr uint64_t MOST_WORK = 3000000000;

// The approximate number of rules that a grammar may have.
constexpr uint64_t MOST_PARTS = 100000;

// Equals MAX_REPETITION_THRESHOLD in llama-grammar.cpp, which refuses grammars with more repetitions.
constexpr int64_t MOST_REPETITIONS = 2000;

constexpr int MAX_DEPTH = 128;

uint64_t sum(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }
uint64_t product(uint64_t a, uint64_t b) { return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b; }

[[noreturn]] void refuse(const std::string & reason) {
    throw std::invalid_argument("the JSON schema " + reason);
}

struct size {
    uint64_t parts = 1;
    uint64_t work  = 0;

    void add(const size & other) {
        parts = sum(parts, other.parts);
        work  = sum(work, other.work);
    }
};

// The properties of an object, including those from the parts of an allOf.
struct properties {
    uint64_t                        optional = 0;
    uint64_t                        all      = 0;
    uint64_t                        bytes    = 0;
    std::map<std::string, uint64_t> rules;

    void add(const std::string & name, bool is_required) {
        optional += is_required ? 0 : 1;
        ++all;
        bytes += 16 + name.size();
        ++rules[gbnf_format_rule_name(name)];
    }

    // Rules of the same name are distinguished by trying one number after the other.
    uint64_t work() const {
        uint64_t work = product(product(optional + 1, optional + 1), bytes);
        for (const auto & [name, count] : rules) {
            work = sum(work, product(product(count, count), 1000));
        }
        return work;
    }
};

class measurer {
  public:
    explicit measurer(const common_json & root) : root(root) {}

    size all() {
        size total = of(root, 0);
        while (!open.empty()) {
            const common_json * target = open.back();
            open.pop_back();
            total.add(of(*target, 0));
            check(total);
        }
        return total;
    }

    static void check(const size & total) {
        if (total.parts > MOST_PARTS || total.work > MOST_WORK) {
            refuse("is too large for a grammar: use fewer properties, above all optional ones (some 400 in one object "
                   "are the most), and fewer references inside of \"allOf\"");
        }
    }

  private:
    const common_json & root;
    std::set<std::string> seen;
    std::vector<const common_json *> open;
    std::map<const common_json *, size> merged;

    const common_json * target(const std::string & ref) const {
        const size_t hash = ref.find('#');
        if (hash == std::string::npos) {
            return nullptr;
        }
        const common_json * at = &root;
        size_t begin = hash + 1;
        while (begin < ref.size()) {
            if (ref[begin] == '/') {
                ++begin;
            }
            const size_t end = std::min(ref.find('/', begin), ref.size());
            const std::string key = ref.substr(begin, end - begin);
            if (at->is_object() && at->contains(key)) {
                at = &at->at(key);
            } else if (at->is_array() && !key.empty() && key.size() < 9 &&
                       std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
                       size_t(std::stoul(key)) < at->size()) {
                at = &at->at(size_t(std::stoul(key)));
            } else {
                return nullptr;
            }
            begin = end;
        }
        return at;
    }

    // A reference is followed once, however often it is used.
    void follow(const std::string & ref) {
        if (seen.insert(ref).second) {
            if (const common_json * schema = target(ref)) {
                open.push_back(schema);
            }
        }
    }

    size of(const common_json & schema, int depth) {
        size total;
        if (depth > MAX_DEPTH || !schema.is_object()) {
            return total;
        }
        if (schema.contains("$ref") && schema.at("$ref").is_string()) {
            follow(schema.at("$ref").get<std::string>());
            return total;
        }
        check_repetitions(schema);
        properties own;
        add_properties(schema, own, total, depth);
        for (const char * name : { "items", "prefixItems", "additionalProperties", "anyOf", "oneOf" }) {
            if (schema.contains(name)) {
                add_each(schema.at(name), total, depth);
            }
        }
        if (schema.contains("allOf") && schema.at("allOf").is_array()) {
            for (const auto & part : schema.at("allOf")) {
                add_merged(part, own, total, depth);
            }
        }
        if (schema.contains("enum") && schema.at("enum").is_array()) {
            total.parts = sum(total.parts, schema.at("enum").size() / 16);
        }
        total.work = sum(total.work, own.work());
        check(total);
        return total;
    }

    void add_each(const common_json & schemas, size & total, int depth) {
        if (schemas.is_array()) {
            for (const auto & schema : schemas) {
                total.add(of(schema, depth + 1));
            }
        } else {
            total.add(of(schemas, depth + 1));
        }
    }

    void add_properties(const common_json & schema, properties & own, size & total, int depth) {
        if (!schema.contains("properties") || !schema.at("properties").is_object()) {
            return;
        }
        std::set<std::string> required;
        if (schema.contains("required") && schema.at("required").is_array()) {
            for (const auto & name : schema.at("required")) {
                if (name.is_string()) {
                    required.insert(name.get<std::string>());
                }
            }
        }
        for (const auto & [name, property] : schema.at("properties").items()) {
            own.add(name, required.count(name) != 0);
            total.add(of(property, depth + 1));
        }
    }

    // A part of an allOf is written out at each place, including the target of a reference. All its properties count
    // as optional, as those of an "anyOf" in it are.
    void add_merged(const common_json & part, properties & own, size & total, int depth) {
        const common_json * schema = &part;
        for (int hop = 0; schema != nullptr && schema->is_object() && schema->contains("$ref") &&
                          schema->at("$ref").is_string(); ++hop) {
            if (hop > MAX_DEPTH) {
                refuse("has references that lead to each other");
            }
            schema = target(schema->at("$ref").get<std::string>());
        }
        if (schema == nullptr || !schema->is_object()) {
            return;
        }
        if (schema->contains("anyOf") && schema->at("anyOf").is_array()) {
            for (const auto & choice : schema->at("anyOf")) {
                add_merged(choice, own, total, depth + 1);
            }
            return;
        }
        if (schema->contains("properties") && schema->at("properties").is_object()) {
            for (const auto & [name, property] : schema->at("properties").items()) {
                (void) property;
                own.add(name, false);
            }
        }
        total.add(size_of_merged(*schema, depth));
    }

    size size_of_merged(const common_json & schema, int depth) {
        const auto found = merged.find(&schema);
        if (found != merged.end()) {
            return found->second;
        }
        // A schema that contains itself is infinite.
        merged[&schema] = { UINT64_MAX, UINT64_MAX };
        return merged[&schema] = of(schema, depth + 1);
    }

    static void check_repetitions(const common_json & schema) {
        for (const char * name : { "minLength", "maxLength", "minItems", "maxItems" }) {
            if (!schema.contains(name) || !schema.at(name).is_number()) {
                continue;
            }
            const double count = schema.at(name).get<double>();
            if (count > double(MOST_REPETITIONS)) {
                refuse(std::string("has \"") + name + "\" " + schema.at(name).dump() + ", and " +
                       std::to_string(MOST_REPETITIONS) + " is the most that a grammar can count to");
            }
        }
    }
};

} // namespace

void llama_shim::check_schema_size(const common_json & schema) {
    measurer::check(measurer(schema).all());
}

void llama_shim::check_tools_size(const common_json & tools) {
    size total;
    if (!tools.is_array()) {
        return;
    }
    for (const auto & tool : tools) {
        if (tool.is_object() && tool.contains("function") && tool.at("function").is_object() &&
            tool.at("function").contains("parameters")) {
            total.add(measurer(tool.at("function").at("parameters")).all());
            measurer::check(total);
        }
    }
}
