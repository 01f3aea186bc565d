//! Templates that would end the process, or never end, give errors of a known kind. Templates that could end the
//! process run in a child.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use llama_core::chat::{ChatTemplates, ChatTurn, TemplateLimit, TemplateLimits};
use llama_core::{ErrorKind, Result};
use serde_json::{Value, json};
use test_models::child::test_name;

fn templates(source: &str) -> Result<ChatTemplates> {
    ChatTemplates::new(None, json!({ "template": source }).to_string())
}

/// Returns a template that acts only in the conversation of `render`, so that making it is not part of the test.
fn when_asked(source: &str) -> String {
    format!(
        "{{% if messages[0].content == 'Go' %}}{source}{{% else %}}{{{{ messages[0].content }}}}{{% endif %}}"
    )
}

fn render_within(source: &str, limits: &TemplateLimits) -> Result<ChatTurn> {
    let request = json!({ "messages": [{ "role": "user", "content": "Go" }] }).to_string();
    templates(&when_asked(source))?.apply_within(request, limits, || false)
}

fn render(source: &str) -> Result<ChatTurn> {
    render_within(source, &TemplateLimits::default())
}

fn prompt(turn: &ChatTurn) -> String {
    let description: Value = serde_json::from_str(&turn.describe().unwrap()).unwrap();
    let parts = description["prompt"].as_array().unwrap().clone();
    parts.iter().map(|part| part["text"].as_str().unwrap()).collect()
}

fn limit(result: Result<impl Sized>) -> TemplateLimit {
    match result.map(drop).unwrap_err().kind() {
        ErrorKind::TemplateLimit { limit, .. } => *limit,
        other => panic!("{other:?}"),
    }
}

fn reason(result: Result<impl Sized>) -> String {
    match result.map(drop).unwrap_err().kind() {
        ErrorKind::Chat { reason, .. } => reason.clone(),
        other => panic!("{other:?}"),
    }
}

/// A template whose number is squared in each turn, until it is infinite.
const NOT_A_NUMBER: &str = "{% set n=namespace(x=9999999999.9) %}{% for i in range(6) %}{% set n.x=n.x * n.x %}{% endfor %}{{ [n.x - n.x, 1.5, 2.5]|sort }}";

/// Templates that ended the process: divisions, overflows, values that contain themselves, invalid orders, deep
/// values.
const ENDED_THE_PROCESS: &[&str] = &[
    "{{ 1 is divisibleby(0) }}",
    "{{ 1 is divisibleby 0 }}",
    "{{ (-9223372036854775807 - 1) is divisibleby(-1) }}",
    "{{ [1, 2]|select('divisibleby', 0)|list }}",
    "{{ [{'a': 1}]|rejectattr('a', 'divisibleby', 0)|list }}",
    "{{ test_is_divisibleby(1, 0) }}",
    "{% set f = test_is_divisibleby %}{{ f(1, 0) }}",
    "{{ 1 % 0 }}{{ 1 / 0 }}{{ 1.5 % 0 }}",
    "{% set l=[1] %}{% set _=l.append(l) %}{{ l|string }}",
    "{% set l=[1] %}{% set _=l.append(l) %}{{ l|tojson }}",
    "{% set l=[1] %}{% set _=l.append(l) %}{{ l ~ 'a' }}",
    "{% set l=[1] %}{% set _=l.append(l) %}{{ 'a' + l }}",
    "{% set l=[1] %}{% set _=l.append(l) %}{{ l|trim }}{{ l|upper }}",
    "{% set l=[1] %}{% set _=l.append(l) %}{{ l == l }}{{ l in l }}{{ l|unique|list }}",
    "{% set l=[1] %}{% set _=l.append(l) %}{{ {l: 1} }}",
    "{% set l=[1] %}{% set _=l.append((l, 1)) %}{{ {(l, 1): 1} }}{{ '{}'.format(l) }}",
    "{% set l=[1] %}{% set _=l.append(l) %}{{ l }}{% for x in l %}{{ x }}{% endfor %}",
    "{% set l=[1] %}{% set _=l.append(l.append) %}{{ l|string }}",
    "{% set n=namespace() %}{% set n.n=n %}{{ n|string }}",
    "{% set n=namespace() %}{% set n.n=n %}{{ n|tojson }}{{ n == n }}{{ n|dictsort }}",
    "{% set n=namespace() %}{% set n.l=[n] %}{{ n.l|string }}{{ n.l|join }}",
    "{% set d={'a': []} %}{% set _=d.a.append(d) %}{{ d|string }}",
    "{% set n=namespace(l=[]) %}{% for i in range(100000) %}{% set n.l=[n.l] %}{% endfor %}{{ n.l|length }}",
    "{% set n=namespace(l=[]) %}{% for i in range(1000) %}{% set n.l=[n.l] %}{% endfor %}{{ n.l|string }}",
    "{% set n=namespace(t=1) %}{% for i in range(20000) %}{% set n.t=(n.t, 1) %}{% endfor %}{{ n.t == n.t }}{{ {n.t: 1} }}",
    "{% set n=namespace(d=1) %}{% for i in range(20000) %}{% set n.d={'a': n.d} %}{% endfor %}{{ n.d|length }}",
    "{% set r=[] %}{% set n=namespace(c=r) %}{% for i in range(50000) %}{% set x=[] %}{% set _=n.c.append(x) %}{% set n.c=x %}{% endfor %}{{ r|length }}",
    "{% set n=namespace(l=none) %}{% for i in range(20000) %}{% for x in [n.l, 1] %}{% if loop.last %}{% set n.l=loop %}{% endif %}{% endfor %}{% endfor %}",
    "{% set n=namespace(l=[1]) %}{% for i in range(60) %}{% set n.l=[n.l, n.l] %}{% endfor %}{{ n.l }}",
    "{% set n=namespace(l=[1]) %}{% for i in range(60) %}{% set n.l=[n.l, n.l] %}{% endfor %}{{ n.l|tojson }}",
    "{% set n=namespace(t=(1, 1)) %}{% for i in range(60) %}{% set n.t=(n.t, n.t) %}{% endfor %}{{ n.t == (n.t, 1) }}{{ {n.t: 1} }}",
    "{{ ['b', 1, 'a', 2.5, none, true, 9, '10', 7, 'c', 3, 'd', 4, 'e', 5, 'f', 6, 'g', 8, 'h', [], {}]|sort }}",
    "{{ (range(40)|list + ['x', none])|sort(reverse=true) }}",
    NOT_A_NUMBER,
    "{{ {'b': 1, 2: 3, none: 4, (1, 2): 5}|dictsort }}{{ {'a': 1, 'b': 'c'}|dictsort(by='value') }}",
    "{{ range(9223372036854775800, 9223372036854775807, 100) }}",
    "{{ range(-9223372036854775807, 9223372036854775807) }}",
    "{{ range(1, 0, -9223372036854775807) }}{{ range(0, 10, 0) }}",
    "{{ [1, 2, 3][0:9:9223372036854775807] }}{{ [1, 2, 3][::-9223372036854775807] }}{{ [1][::0] }}",
    "{{ 'abc'[9223372036854775807:-9223372036854775807:-9223372036854775807] }}{{ 'a'[::0] }}",
    "{{ 'a'|indent(1000000000000) }}{{ 'a'|indent(-1) }}",
    "{{ [1]|tojson(indent=2147483647) }}{{ [[1]]|tojson(indent=-5) }}",
    "{{ -9223372036854775807 - 1 }}{{ (-9223372036854775807 - 1)|abs }}{{ 9999999999.9 * 99999999999.9 }}",
    "{% call range(1000000000000) %}{% endcall %}",
    "{{ strftime_now('%') }}{{ strftime_now('%Q %') }}{{ strftime_now('') }}{{ strftime_now('a' * 1000) }}",
    "{{ 99999999999999999999 }}",
    "{{ '12'|int(base=99) }}{{ 'zz'|int(0, 36) }}{{ 'x'|int('y') }}",
    "{{ [].pop() }}{{ [1].pop(-9223372036854775807) }}{{ [1].pop(7) }}",
    "{{ namespace.a }}{{ range.x }}{{ caller() }}{{ loop }}{{ self }}",
    "{% macro m(a, b=m) %}{{ b(a) }}{% endmacro %}{{ m(1) }}{{ m }}",
    "{% filter replace('', 'x') %}aaaa{% endfilter %}{% filter nothing %}{% endfilter %}",
];

const CHILD: &str = "LLAMA_TEMPLATE_CHILD";

#[test]
#[allow(clippy::print_stdout, reason = "what the parent reads")]
fn child() {
    let Ok(which) = env::var(CHILD) else { return };
    let which: usize = which.parse().unwrap();
    let limits = TemplateLimits::default().steps(1_000_000);
    for source in &ENDED_THE_PROCESS[which..] {
        println!("\u{1e}{source}");
        let options = json!({ "template": source }).to_string();
        // Trials run it too.
        drop(ChatTemplates::new_within(None, options, &limits, || false));
        drop(render_within(source, &limits));
    }
    println!("\u{1e}done");
}

#[test]
fn no_template_ends_the_process() {
    let child = Command::new(env::current_exe().unwrap())
        .args([&test_name(module_path!(), "child"), "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "0")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let last = said.rsplit('\u{1e}').next().unwrap_or_default();
    assert!(child.status.success() && last.starts_with("done"), "{}: {last}", child.status);
}

#[test]
fn what_divides_by_zero_is_an_error_in_words() {
    assert!(reason(render("{{ 1 is divisibleby(0) }}")).contains("division by zero"));
    assert!(reason(render("{{ [2]|select('divisibleby', 0) }}")).contains("division by zero"));
    assert_eq!(prompt(&render("{{ 6 is divisibleby(3) }}{{ 7 is divisibleby(-1) }}").unwrap()), "TrueTrue");
}

#[test]
fn what_contains_itself_is_an_error_in_words() {
    let list = "{% set l=[1] %}{% set _=l.append(l) %}";
    assert!(reason(render(&format!("{list}{{{{ l|string }}}}"))).contains("contains itself"));
    assert_eq!(prompt(&render(&format!("{list}{{{{ l|length }}}}")).unwrap()), "2");
}

#[test]
fn orders_that_are_none_are_an_error_in_words() {
    assert!(reason(render("{{ ['b', 1]|sort }}")).contains("several types"));
    assert!(reason(render(NOT_A_NUMBER)).contains("a list with NaN cannot be sorted"));
    assert_eq!(prompt(&render("{{ [3, 1.5, 2]|sort|join(' ') }}").unwrap()), "1.5 2 3");
    assert_eq!(
        prompt(
            &render("{{ [{'a': 'y'}, {'a': 'x'}]|sort(attribute='a')|map(attribute='a')|join }}").unwrap()
        ),
        "xy"
    );
    assert_eq!(prompt(&render("{{ {'b': 1, 'a': 2}|dictsort|tojson }}").unwrap()), "{\"a\": 2, \"b\": 1}");
}

#[test]
fn steps_are_limited() {
    let nested = "{% for a in range(100000) %}{% for b in range(100000) %}{{ b }}{% endfor %}{% endfor %}";
    let limits = TemplateLimits::default().steps(200_000);
    for source in [
        nested,
        "{% for a in range(1000000) %}{% endfor %}",
        // 3^40 calls, no more than 40 of them inside of each other.
        "{% macro m(n) %}{% if n > 0 %}{{ m(n - 1) }}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        "{% set n=namespace(l=[1]) %}{% for i in range(60) %}{% set n.l=[n.l, n.l] %}{% endfor %}{{ n.l|string }}",
    ] {
        let error = render_within(source, &limits).unwrap_err();
        let ErrorKind::TemplateLimit { limit, value, operation, .. } = error.kind() else {
            panic!("{source}: {error:?}")
        };
        assert_eq!(
            (*limit, *value, *operation),
            (TemplateLimit::Steps, 200_000, "rendering a conversation"),
            "{source}"
        );
        assert!(error.to_string().contains("raise TemplateLimits::steps"), "{error}");
    }
    let made = ChatTemplates::new_within(None, json!({ "template": nested }).to_string(), &limits, || false);
    assert_eq!(limit(made), TemplateLimit::Steps);
}

#[test]
fn memory_is_limited_before_it_is_taken() {
    let limits = TemplateLimits::default().memory_bytes(64 << 20);
    for source in [
        "{{ 'a' * 10000000000 }}",
        "{{ range(1000000000000) }}",
        "{% set n=namespace(s='a') %}{% for i in range(60) %}{% set n.s=n.s + n.s %}{% endfor %}",
        "{% set n=namespace(l=[1]) %}{% for i in range(60) %}{% set n.l=n.l + n.l %}{% endfor %}",
        "{% set n=namespace(l=[]) %}{% for i in range(200000) %}{% set _=n.l.append('x' * 1000) %}{% endfor %}",
        "{{ ('a' * 1000000)|replace('a', 'b' * 1000) }}",
        "{{ ('a' * 1000000)|replace('', 'b' * 1000) }}",
        "{{ range(100000)|join('b' * 10000) }}",
        "{{ 'a'|indent(1000000000000) }}{{ ('a\n' * 1000)|indent(1000000000) }}",
        "{{ ('a ' * 1000000).split(' ') }}",
        "{% for i in range(200000) %}{{ 'x' * 1000 }}{% endfor %}",
        // One value, which the text of the loop would contain many times.
        "{% set s='x' * 1000 %}{% for i in range(200000) %}{{ s }}{% endfor %}",
        "{% set l=['x' * 1000] %}{% for i in range(200000) %}{{ l }}{% endfor %}",
    ] {
        let error = render_within(source, &limits).unwrap_err();
        let ErrorKind::TemplateLimit { limit, value, .. } = error.kind() else {
            panic!("{source}: {error:?}")
        };
        assert_eq!((*limit, *value), (TemplateLimit::MemoryBytes, 64 << 20), "{source}");
    }
}

#[test]
fn memory_that_is_given_back_does_not_count() {
    let limits = TemplateLimits::default().memory_bytes(64 << 20);
    for source in [
        // Each text takes 49 MB, 48 bytes for each repetition.
        "{% for i in range(10) %}{% set s='x' * 1000000 %}{% endfor %}done",
        "{% for i in range(2000) %}{% set l=range(1000) %}{% endfor %}done",
        // A value with many names is one value.
        "{% set s='x' * 100000 %}{% for i in range(100) %}{% set t=s %}{% endfor %}done",
        "{% set n=namespace(l=[]) %}{% set s='x' * 100000 %}{% for i in range(100) %}{% set _=n.l.append(s) %}{% endfor %}done",
    ] {
        assert_eq!(prompt(&render_within(source, &limits).unwrap()), "done", "{source}");
    }
}

#[test]
fn output_and_depth_are_limited() {
    let limits = TemplateLimits::default().output_bytes(1000).depth(60);
    let error = render_within("{% for i in range(200) %}{{ 'abcdef' }}{% endfor %}", &limits).unwrap_err();
    assert!(matches!(
        error.kind(),
        ErrorKind::TemplateLimit { limit: TemplateLimit::OutputBytes, value: 1000, .. }
    ));
    let endless = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
    let error = render_within(endless, &limits).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TemplateLimit { limit: TemplateLimit::Depth, value: 60, .. }));
    // The common library has a limit of its own for macros, which is below the default.
    assert!(reason(render(endless)).contains("macro calls are nested more than 128 levels deep"));
}

#[test]
fn time_is_limited() {
    let nested = "{% for a in range(100000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}";
    let limits = TemplateLimits::default().steps(u64::MAX).time(Duration::from_millis(100));
    let error = render_within(nested, &limits).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TemplateLimit { limit: TemplateLimit::Time, value: 100, .. }));
}

#[test]
fn a_template_is_cancelled() {
    let nested =
        when_asked("{% for a in range(100000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}");
    let templates = templates(&nested).unwrap();
    let request = json!({ "messages": [{ "role": "user", "content": "Go" }] }).to_string();
    let limits = TemplateLimits::default().steps(u64::MAX).time(Duration::MAX);
    let cancelled = AtomicBool::new(false);
    let error = thread::scope(|scope| {
        let render = scope.spawn(|| {
            templates.apply_within(&request, &limits, || cancelled.load(Ordering::Relaxed)).unwrap_err()
        });
        thread::sleep(Duration::from_millis(50));
        cancelled.store(true, Ordering::Relaxed);
        render.join().unwrap()
    });
    assert!(matches!(
        error.kind(),
        ErrorKind::TemplateCancelled { operation: "rendering a conversation", .. }
    ));
    let made = ChatTemplates::new_within(None, json!({ "template": "x" }).to_string(), &limits, || true);
    assert!(matches!(made.unwrap_err().kind(), ErrorKind::TemplateCancelled { .. }));
}

#[test]
fn a_panic_of_the_caller_goes_on_afterwards() {
    let templates = templates("{{ messages[0].content }}").unwrap();
    let request = json!({ "messages": [{ "role": "user", "content": "Go" }] }).to_string();
    let limits = TemplateLimits::default();
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drop(templates.apply_within(&request, &limits, || panic!("asked")));
    }));
    assert_eq!(*panic.unwrap_err().downcast::<&str>().unwrap(), "asked");
    assert_eq!(prompt(&templates.apply(&request).unwrap()), "Go");
}

#[test]
fn one_template_does_not_hold_up_the_others() {
    let nested =
        when_asked("{% for a in range(100000) %}{% for b in range(10000) %}{{ b }}{% endfor %}{% endfor %}");
    let hostile = templates(&nested).unwrap();
    let request = json!({ "messages": [{ "role": "user", "content": "Go" }] }).to_string();
    let limits = TemplateLimits::default().steps(u64::MAX).time(Duration::MAX);
    let others_are_done = AtomicBool::new(false);
    let dated =
        templates("{{ strftime_now('%Y-%m-%d') }} {{ date_string }} {{ messages[0].content }}").unwrap();
    thread::scope(|scope| {
        let looping = scope.spawn(|| {
            hostile.apply_within(&request, &limits, || others_are_done.load(Ordering::Relaxed)).unwrap_err()
        });
        let started = Instant::now();
        let others: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| (0..20).map(|_| prompt(&dated.apply(&request).unwrap())).collect::<Vec<_>>())
            })
            .collect();
        for other in others {
            for text in other.join().unwrap() {
                assert!(text.starts_with("20") && text.ends_with(" Go"), "{text}");
            }
        }
        assert!(!looping.is_finished(), "after {:?}", started.elapsed());
        others_are_done.store(true, Ordering::Relaxed);
        assert!(matches!(looping.join().unwrap().kind(), ErrorKind::TemplateCancelled { .. }));
    });
}

#[test]
fn huge_templates_are_refused() {
    assert!(reason(templates(&"x".repeat(300_000))).contains("300000 bytes, and 262144 are the most"));
    templates(&"x\r\n".repeat(80_000)).unwrap();
    let literal = format!("{{{{ '{}' }}}}", "y".repeat(200_000));
    assert_eq!(prompt(&render(&literal).unwrap()).len(), 200_000);
}

#[test]
fn a_generation_prompt_is_always_said() {
    let source = "{% if add_generation_prompt is not defined %}{% set add_generation_prompt = true %}{% endif %}\
                  {{ messages[0].content }}{% if add_generation_prompt %}|Answer:{% endif %}";
    let templates = templates(source).unwrap();
    let text = |add: bool| {
        let messages = json!([{ "role": "user", "content": "Hi" }]);
        prompt(
            &templates
                .apply(json!({ "messages": messages, "add_generation_prompt": add }).to_string())
                .unwrap(),
        )
    };
    assert_eq!((text(true), text(false)), ("Hi|Answer:".to_owned(), "Hi".to_owned()));
}

#[test]
fn variables_are_what_they_are() {
    let templates =
        templates("{{ a is none }} {{ b }} {{ b is false }} {{ enable_thinking }} {{ c is defined }}")
            .unwrap();
    let request = |kwargs: Value| {
        let messages = json!([{ "role": "user", "content": "Hi" }]);
        json!({ "messages": messages, "template_kwargs": kwargs, "enable_thinking": false }).to_string()
    };
    let turn = templates.apply(request(json!({ "a": null, "b": false }))).unwrap();
    assert_eq!(prompt(&turn), "True False True False False");
    for name in ["messages", "tools", "bos_token", "eos_token", "add_generation_prompt", "enable_thinking"] {
        let reason = reason(templates.apply(request(json!({ name: true }))));
        assert!(reason.contains(&format!("\"{name}\", which the request has a field for")), "{reason}");
    }
}
