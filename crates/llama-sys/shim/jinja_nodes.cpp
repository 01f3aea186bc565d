// The common library's parser, with syntax trees that keep to a budget.
//
// The parser creates a node for each part of a template by its type's name. In this file, the names of the nodes that
// do work stand for our own types, derived from them. They evaluate the parts of an operation, check it, and let the
// common library carry it out on the values. The common library alone defines the meaning of a template, and its
// files are not changed.

#include "jinja_budget.h"
#include "jinja_builtins.h"

#include "jinja/lexer.h"
#include "jinja/parser.h"
#include "jinja/runtime.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace llama_shim {

namespace {

using namespace jinja;

// The number of variables that a template has named: each scope that it enters copies them.
thread_local std::shared_ptr<size_t> names_of_template;

std::shared_ptr<size_t> counted_names(const statement_ptr & assignee) {
    if (names_of_template == nullptr) {
        names_of_template = std::make_shared<size_t>(0);
    }
    const auto * several = cast_stmt<tuple_literal>(assignee);
    *names_of_template += several != nullptr ? several->val.size() : 1;
    return names_of_template;
}

uint64_t scope_steps(const std::shared_ptr<size_t> & names) {
    return 1 + *names / 8;
}

class step {
  public:
    step() : budget(template_budget::current()) {
        if (budget != nullptr) {
            budget->enter();
        }
    }
    ~step() {
        if (budget != nullptr) {
            budget->leave();
        }
    }
    step(const step &) = delete;
    step & operator=(const step &) = delete;

    explicit operator bool() const { return budget != nullptr; }
    template_budget & operator*() const { return *budget; }
    template_budget * operator->() const { return budget; }

  private:
    template_budget * budget;
};

// A value in place of an expression.
struct held_value : expression {
    value held;
    explicit held_value(value held) : held(std::move(held)) { pos = 0; }
    value execute_impl(context &) const override { return held; }
};

statement_ptr hold(value v) {
    return std::make_unique<held_value>(std::move(v));
}

// A statement that another node owns.
struct borrowed : statement {
    const statement & lender;
    explicit borrowed(const statement & lender) : lender(lender) { pos = lender.pos; }
    value execute_impl(context & ctx) const override { return lender.execute(ctx); }
};

// The value that a block shows. A list becomes a text with everything inside it.
struct shown : statement {
    statement_ptr inner;
    bool          is_outermost;
    shown(statement_ptr && inner, bool is_outermost) : inner(std::move(inner)), is_outermost(is_outermost) {
        pos = this->inner->pos;
    }
    std::string type() const override { return inner->type(); }
    void visit(context & ctx) const override { inner->visit(ctx); }
    value execute_impl(context & ctx) const override {
        const step step;
        value result = inner->execute(ctx);
        if (!step || result == nullptr) {
            return result;
        }
        if (is_container(result)) {
            step->keep(result);
        }
        const bool is_text = is_val<value_string>(result);
        const bool is_list = is_val<value_array>(result);
        const extent all = is_text ? extent{ 1, result->val_str.length(), result->val_str.parts.size() }
                                   : step->measure(result);
        step->work(all.bytes / 16384);
        if (is_outermost) {
            step->output(is_text || is_list ? all.bytes : 0);
        }
        // The text of a block is made at the end of the block, from all values that it has shown.
        if (is_text || is_list) {
            step->keep_copy(result, all);
        }
        return result;
    }
};

statements show(statements && body, bool is_outermost = false) {
    for (auto & inner : body) {
        inner = std::make_unique<shown>(std::move(inner), is_outermost);
    }
    return std::move(body);
}

struct render_begins : statement {
    render_begins() { pos = 0; }
    std::string type() const override { return "Noop"; }
    value execute_impl(context & ctx) const override {
        if (auto * budget = template_budget::current()) {
            budget->begin_render();
        }
        // Templates may assume true when the variable is missing, and the common library does not set it when it is
        // false.
        if (ctx.get_val("add_generation_prompt")->is_undefined()) {
            ctx.set_val("add_generation_prompt", mk_val<value_bool>(false));
        }
        return mk_val<value_undefined>();
    }
};

// A value that receives a name.
struct kept : expression {
    statement_ptr inner;
    explicit kept(statement_ptr && inner) : inner(std::move(inner)) { pos = this->inner->pos; }
    std::string type() const override { return inner->type(); }
    void visit(context & ctx) const override { inner->visit(ctx); }
    value execute_impl(context & ctx) const override {
        value result = inner->execute(ctx);
        if (auto * budget = template_budget::current()) {
            budget->keep(result);
        }
        return result;
    }
};

statement_ptr keep(statement_ptr && inner) {
    return inner == nullptr ? nullptr : std::make_unique<kept>(std::move(inner));
}

value evaluated(const step & step, const statement_ptr & node, context & ctx) {
    value result = node->execute(ctx);
    if (is_container(result)) {
        step->keep(result);
    }
    return result;
}

void evaluate_all(const step & step, const statements & nodes, context & ctx, std::vector<value> & values) {
    for (const auto & node : nodes) {
        values.push_back(evaluated(step, node, ctx));
    }
}

statements hold_from(const std::vector<value> & values, size_t first) {
    statements held;
    for (size_t i = first; i < values.size(); ++i) {
        held.push_back(hold(values[i]));
    }
    return held;
}

value made(const step & step, value result) {
    step->keep(result);
    return result;
}

// Returns the name by which the common library finds a filter.
std::string filter_name(const std::string & name) {
    return name == "count" ? "length" : name == "d" ? "default" : name == "trim" ? "strip" : name;
}

value apply_filter(const step & step, context & ctx, const statement_ptr & filter, value input) {
    const auto * call = cast_stmt<call_expression>(filter);
    const auto * name = cast_stmt<identifier>(call != nullptr ? call->callee : filter);
    if (name == nullptr) {
        throw std::runtime_error("Filter callee must be an identifier");
    }
    std::vector<value> values = { std::move(input) };
    if (call != nullptr) {
        evaluate_all(step, call->args, ctx, values);
    }
    check_builtin(*step, filter_name(name->val), values);
    statement_ptr with = std::make_unique<identifier>(name->val);
    if (call != nullptr) {
        with = std::make_unique<call_expression>(std::move(with), hold_from(values, 1));
    }
    return made(step, filter_expression(hold(values[0]), std::move(with)).execute_impl(ctx));
}

// Returns whether a function belongs to the common library and is not a macro, whatever its name.
bool is_builtin(const value_func_t & function) {
    if (function.arg0 != nullptr) {
        return true;
    }
    const auto found = global_builtins().find(function.name);
    return found != global_builtins().end() && found->second.target_type() == function.val_func.target_type();
}

struct guarded_if : if_statement {
    guarded_if(statement_ptr && test, statements && body, statements && alternate)
        : if_statement(std::move(test), show(std::move(body)), show(std::move(alternate))) {}
    value execute_impl(context & ctx) const override {
        const step step;
        return if_statement::execute_impl(ctx);
    }
};

// The items of a loop. The common library makes a scope for each element, and lists of all of them.
struct loop_items : expression {
    statement_ptr           inner;
    std::shared_ptr<size_t> names;
    loop_items(statement_ptr && inner, std::shared_ptr<size_t> names) : inner(std::move(inner)), names(std::move(names)) {
        pos = this->inner->pos;
    }
    std::string type() const override { return inner->type(); }
    void visit(context & ctx) const override { inner->visit(ctx); }
    value execute_impl(context & ctx) const override {
        const step step;
        value items = inner->execute(ctx);
        if (step) {
            step->keep(items);
            const uint64_t count = items->val_arr.size() + items->val_obj.size();
            step->reserve(count * BYTES);
            step->work(count * (2 + scope_steps(names)));
        }
        return items;
    }
    static constexpr uint64_t BYTES = 512;
};

struct guarded_for : for_statement {
    guarded_for(statement_ptr && loopvar, statement_ptr && iterable, statements && body, statements && default_block)
        : for_statement(std::move(loopvar), items(std::move(iterable), loopvar), show(std::move(body)),
                        show(std::move(default_block))) {}
    value execute_impl(context & ctx) const override {
        const step step;
        return for_statement::execute_impl(ctx);
    }

  private:
    static statement_ptr items(statement_ptr && iterable, const statement_ptr & loopvar) {
        auto names = counted_names(loopvar);
        if (auto * chosen = cast_stmt<select_expression>(iterable)) {
            chosen->lhs = std::make_unique<loop_items>(std::move(chosen->lhs), std::move(names));
            return std::move(iterable);
        }
        return std::make_unique<loop_items>(std::move(iterable), std::move(names));
    }
};

struct guarded_set : set_statement {
    guarded_set(statement_ptr && assignee, statement_ptr && value, statements && body)
        : set_statement(std::move(assignee), keep(std::move(value)), show(std::move(body))) {
        counted_names(this->assignee);
    }
    value execute_impl(context & ctx) const override {
        const step step;
        return set_statement::execute_impl(ctx);
    }
};

struct guarded_macro : macro_statement {
    guarded_macro(statement_ptr && name, statements && args, statements && body)
        : macro_statement(std::move(name), std::move(args), show(std::move(body))) {
        *counted_names(this->name) += this->args.size();
    }
    value execute_impl(context & ctx) const override {
        const step step;
        return macro_statement::execute_impl(ctx);
    }
};

struct guarded_call_block : call_statement {
    std::shared_ptr<size_t> names;
    guarded_call_block(statement_ptr && call, statements && caller_args, statements && body)
        : call_statement(std::move(call), std::move(caller_args), show(std::move(body))), names(counted_names(nullptr)) {}
    value execute_impl(context & ctx) const override {
        const step step;
        if (step) {
            step->work(4 * scope_steps(names));
            const value callee = cast_stmt<call_expression>(this->call)->callee->execute(ctx);
            const auto * function = cast_val<value_func>(callee);
            if (function != nullptr && is_builtin(*function)) {
                throw std::runtime_error("a call block calls " + function->name + ", which is no macro");
            }
        }
        return call_statement::execute_impl(ctx);
    }
};

struct guarded_filter_block : filter_statement {
    guarded_filter_block(statement_ptr && filter, statements && body)
        : filter_statement(std::move(filter), show(std::move(body))) {}
    value execute_impl(context & ctx) const override {
        const step step;
        if (!step) {
            return filter_statement::execute_impl(ctx);
        }
        statements lent;
        for (const auto & inner : body) {
            lent.push_back(std::make_unique<borrowed>(*inner));
        }
        const if_statement text(hold(mk_val<value_bool>(true)), std::move(lent), {});
        return apply_filter(step, ctx, filter, made(step, text.execute_impl(ctx)));
    }
};

struct guarded_binary : binary_expression {
    using binary_expression::binary_expression;
    value execute_impl(context & ctx) const override {
        const step step;
        if (!step || op.value == "and" || op.value == "or") {
            return binary_expression::execute_impl(ctx);
        }
        value left_value  = evaluated(step, left, ctx);
        value right_value = evaluated(step, right, ctx);
        check_operator(*step, op.value, left_value, right_value);
        const binary_expression operation(op, hold(std::move(left_value)), hold(std::move(right_value)));
        return made(step, operation.execute_impl(ctx));
    }
};

struct guarded_filter : filter_expression {
    using filter_expression::filter_expression;
    value execute_impl(context & ctx) const override {
        const step step;
        if (!step) {
            return filter_expression::execute_impl(ctx);
        }
        return apply_filter(step, ctx, filter, evaluated(step, operand, ctx));
    }
};

struct guarded_test : test_expression {
    using test_expression::test_expression;
    value execute_impl(context & ctx) const override {
        const step step;
        const auto * call = cast_stmt<call_expression>(test);
        const auto * name = cast_stmt<identifier>(call != nullptr ? call->callee : test);
        if (!step || name == nullptr) {
            return test_expression::execute_impl(ctx);
        }
        std::vector<value> values = { evaluated(step, operand, ctx) };
        if (call != nullptr) {
            evaluate_all(step, call->args, ctx, values);
        }
        check_builtin(*step, "test_is_" + name->val, values);
        statement_ptr with = std::make_unique<identifier>(name->val);
        if (call != nullptr) {
            with = std::make_unique<call_expression>(std::move(with), hold_from(values, 1));
        }
        return test_expression(hold(values[0]), negate, std::move(with)).execute_impl(ctx);
    }
};

struct guarded_unary : unary_expression {
    using unary_expression::unary_expression;
    value execute_impl(context & ctx) const override {
        const step step;
        return unary_expression::execute_impl(ctx);
    }
};

struct guarded_ternary : ternary_expression {
    using ternary_expression::ternary_expression;
    value execute_impl(context & ctx) const override {
        const step step;
        return ternary_expression::execute_impl(ctx);
    }
};

struct guarded_call : call_expression {
    std::shared_ptr<size_t> names;
    guarded_call(statement_ptr && callee, statements && args)
        : call_expression(std::move(callee), std::move(args)), names(counted_names(nullptr)) {}
    value execute_impl(context & ctx) const override {
        const step step;
        if (!step) {
            return call_expression::execute_impl(ctx);
        }
        std::vector<value> values;
        evaluate_all(step, args, ctx, values);
        value function = callee->execute(ctx);
        const auto * known = cast_val<value_func>(function);
        if (known == nullptr || !is_builtin(*known)) {
            step->work(scope_steps(names));
        } else if (known->arg0 == nullptr) {
            check_builtin(*step, known->name, values);
        } else {
            step->keep(known->arg0);
            values.insert(values.begin(), known->arg0);
            check_builtin(*step, known->name, values);
            values.erase(values.begin());
        }
        const call_expression operation(hold(std::move(function)), hold_from(values, 0));
        return made(step, operation.execute_impl(ctx));
    }
};

struct guarded_member : member_expression {
    using member_expression::member_expression;
    value execute_impl(context & ctx) const override {
        const step step;
        if (!step || !computed) {
            return member_expression::execute_impl(ctx);
        }
        value of = evaluated(step, object, ctx);
        step->work(is_val<value_string>(of) ? of->val_str.length() / 16384 : 0);
        const auto * slice = cast_stmt<slice_expression>(property);
        if (slice == nullptr) {
            value key = evaluated(step, property, ctx);
            if (is_container(key)) {
                step->measure(key);
            }
            return member_expression(hold(std::move(of)), hold(std::move(key)), true).execute_impl(ctx);
        }
        const auto bound = [&](const statement_ptr & node) -> statement_ptr {
            if (node == nullptr) {
                return nullptr;
            }
            std::vector<value> one = { node->execute(ctx) };
            check_builtin(*step, "slice", one);
            return hold(one[0]);
        };
        auto by    = bound(slice->step_expr);
        auto first = bound(slice->start_expr);
        auto last  = bound(slice->stop_expr);
        step->work(of->val_arr.size() / 64);
        auto bounds = std::make_unique<slice_expression>(std::move(first), std::move(last), std::move(by));
        return made(step, member_expression(hold(std::move(of)), std::move(bounds), true).execute_impl(ctx));
    }
};

struct guarded_array : array_literal {
    using array_literal::array_literal;
    value execute_impl(context & ctx) const override {
        const step step;
        value result = array_literal::execute_impl(ctx);
        return step ? made(step, std::move(result)) : result;
    }
};

struct guarded_tuple : tuple_literal {
    using tuple_literal::tuple_literal;
    value execute_impl(context & ctx) const override {
        const step step;
        value result = tuple_literal::execute_impl(ctx);
        return step ? made(step, std::move(result)) : result;
    }
};

struct guarded_object : object_literal {
    explicit guarded_object(std::vector<std::pair<statement_ptr, statement_ptr>> && val)
        : object_literal(with_checked_keys(std::move(val))) {}
    value execute_impl(context & ctx) const override {
        const step step;
        value result = object_literal::execute_impl(ctx);
        return step ? made(step, std::move(result)) : result;
    }

  private:
    // A key that is a tuple is hashed with everything inside it.
    struct checked_key : expression {
        statement_ptr inner;
        explicit checked_key(statement_ptr && inner) : inner(std::move(inner)) { pos = this->inner->pos; }
        std::string type() const override { return inner->type(); }
        value execute_impl(context & ctx) const override {
            value key = inner->execute(ctx);
            auto * budget = template_budget::current();
            if (budget != nullptr && is_container(key)) {
                budget->measure(key);
            }
            return key;
        }
    };

    static std::vector<std::pair<statement_ptr, statement_ptr>> with_checked_keys(
            std::vector<std::pair<statement_ptr, statement_ptr>> && pairs) {
        for (auto & pair : pairs) {
            pair.first = std::make_unique<checked_key>(std::move(pair.first));
        }
        return std::move(pairs);
    }
};

} // namespace

} // namespace llama_shim

// Renames the parser's types from here to the end of its file.
#define if_statement        ::llama_shim::guarded_if
#define for_statement       ::llama_shim::guarded_for
#define set_statement       ::llama_shim::guarded_set
#define macro_statement     ::llama_shim::guarded_macro
#define call_statement      ::llama_shim::guarded_call_block
#define filter_statement    ::llama_shim::guarded_filter_block
#define binary_expression   ::llama_shim::guarded_binary
#define filter_expression   ::llama_shim::guarded_filter
#define test_expression     ::llama_shim::guarded_test
#define unary_expression    ::llama_shim::guarded_unary
#define ternary_expression  ::llama_shim::guarded_ternary
#define call_expression     ::llama_shim::guarded_call
#define member_expression   ::llama_shim::guarded_member
#define array_literal       ::llama_shim::guarded_array
#define tuple_literal       ::llama_shim::guarded_tuple
#define object_literal      ::llama_shim::guarded_object
#define parse_from_tokens   parse_unguarded

#include "jinja/parser.cpp"

#undef if_statement
#undef for_statement
#undef set_statement
#undef macro_statement
#undef call_statement
#undef filter_statement
#undef binary_expression
#undef filter_expression
#undef test_expression
#undef unary_expression
#undef ternary_expression
#undef call_expression
#undef member_expression
#undef array_literal
#undef tuple_literal
#undef object_literal
#undef parse_from_tokens

jinja::program jinja::parse_from_tokens(const lexer_result & tokens) {
    llama_shim::names_of_template = std::make_shared<size_t>(0);
    program parsed = parse_unguarded(tokens);
    llama_shim::names_of_template.reset();
    parsed.body = llama_shim::show(std::move(parsed.body), true);
    parsed.body.insert(parsed.body.begin(), std::make_unique<llama_shim::render_begins>());
    return parsed;
}
