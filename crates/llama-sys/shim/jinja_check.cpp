#include "jinja_check.h"

#include "jinja/lexer.h"
#include "jinja/parser.h"

#include <stdexcept>
#include <string>
#include <vector>

namespace {

// `a + b + c`, `a
// b
// c` and `a.b.c` make syntax trees as deep as they are long. The common library limits every other nesting to 128 but
// walks these trees by recursion. The longest chains in use have some dozens of links.
constexpr size_t MAX_LINKS = 256;

// The longest templates in use have 60 KiB. The lexer takes quadratic time for Windows line ends.
constexpr size_t MAX_SOURCE = 256 << 10;

// The links of the open expressions at a place of a template. The links of an argument are nested below those of the
// called expression.
class open_links {
  public:
    void restart() {
        levels.assign(1, 0);
        total = 0;
    }

    void enter() { levels.push_back(0); }

    void leave() {
        next();
        if (levels.size() > 1) {
            levels.pop_back();
        }
    }

    void next() {
        total -= levels.back();
        levels.back() = 0;
    }

    bool add() {
        ++levels.back();
        return ++total <= MAX_LINKS;
    }

  private:
    std::vector<size_t> levels = { 0 };
    size_t              total  = 0;
};

bool is_link(const jinja::token & token) {
    switch (token.t) {
        case jinja::token::dot:
        case jinja::token::pipe:
        case jinja::token::open_square_bracket:
        case jinja::token::additive_binary_operator:
        case jinja::token::multiplicative_binary_operator:
        case jinja::token::comparison_binary_operator:
            return true;
        case jinja::token::identifier:
            return token.value == "and" || token.value == "or" || token.value == "in" || token.value == "is";
        default:
            return false;
    }
}

void follow(const jinja::token & token, open_links & links) {
    switch (token.t) {
        case jinja::token::open_expression:
        case jinja::token::open_statement:
            return links.restart();
        case jinja::token::open_paren:
        case jinja::token::open_square_bracket:
        case jinja::token::open_curly_bracket:
            return links.enter();
        case jinja::token::close_paren:
        case jinja::token::close_square_bracket:
        case jinja::token::close_curly_bracket:
            return links.leave();
        case jinja::token::comma:
            return links.next();
        default:
            return;
    }
}

} // namespace

void llama_shim::check_template(const std::string & source) {
    if (source.size() > MAX_SOURCE) {
        throw std::invalid_argument("the chat template has " + std::to_string(source.size()) + " bytes, and " +
                                    std::to_string(MAX_SOURCE) + " are the most");
    }
    jinja::lexer lexer;
    auto tokens = lexer.tokenize(source);
    open_links links;
    for (const auto & token : tokens.tokens) {
        if (is_link(token) && !links.add()) {
            throw jinja::lexer_exception(
                "an expression has more than " + std::to_string(MAX_LINKS) + " operators", tokens.source, token.pos);
        }
        follow(token, links);
    }
    jinja::parse_from_tokens(tokens);
}
