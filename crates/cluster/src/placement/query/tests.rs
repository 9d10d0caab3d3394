use super::{Query, Subject};
use proptest::prelude::*;
use windlass_model::id::Millis;

struct Host;

impl Subject for Host {
    fn agent_connected(&self) -> bool {
        true
    }
    fn agent_version(&self) -> &str {
        "1.14.5"
    }
    fn ec2_instance_id(&self) -> String {
        "i-abcd1234".into()
    }
    fn registered_at(&self) -> Millis {
        // 2018-06-18T22:28:28Z
        Millis(1_529_360_908_250)
    }
    fn running_tasks(&self) -> u64 {
        3
    }
    fn any_group(&self, test: &dyn Fn(&str) -> bool) -> bool {
        ["service:production", "database"]
            .iter()
            .any(|group| test(group))
    }
    fn attribute(&self, name: &str) -> Option<Option<&str>> {
        match name {
            "ecs.instance-type" => Some(Some("t2.small")),
            "stack" => Some(Some("prod")),
            "ssd" => Some(None),
            _ => None,
        }
    }
}

#[test]
fn expressions_hold_or_do_not() {
    for (expression, holds) in [
        ("attribute:ecs.instance-type == t2.small", true),
        ("attribute:ecs.instance-type == 't2.small'", true),
        ("attribute:ecs.instance-type equals t2.micro", false),
        ("attribute:ecs.instance-type =~ t2.*", true),
        ("attribute:ecs.instance-type =~ t2", false),
        (
            "attribute:ecs.instance-type =~ 't[12]\\.(small|large)'",
            true,
        ),
        ("attribute:ecs.instance-type matches t[12].*", true),
        ("attribute:ecs.instance-type !~ g2.*", true),
        ("attribute:ecs.instance-type in [t2.small, t2.medium]", true),
        (
            "attribute:ecs.instance-type not_in [t2.small,t2.medium]",
            false,
        ),
        ("attribute:ecs.instance-type !in ['t2.large']", true),
        ("attribute:stack exists", true),
        ("attribute:ssd exists", true),
        ("attribute:gpu exists", false),
        ("attribute:gpu !exists", true),
        ("attribute:gpu not_exists", true),
        // An attribute that is not there is not different either.
        ("attribute:gpu != a", false),
        ("attribute:stack != a", true),
        ("attribute:ssd != a", true),
        ("not(attribute:gpu == a)", true),
        ("agentConnected == true", true),
        ("agentConnected != true", false),
        ("agentVersion < 1.15", true),
        ("agentVersion > 1.14", true),
        ("agentVersion >= 1.14.5", true),
        ("ec2InstanceId in ['i-abcd1234', 'i-wxyz7890']", true),
        ("registeredAt == 2018-06-18T22:28:28+00:00", true),
        ("registeredAt >= 2018-06-18", true),
        ("registeredAt < 2018-06-18", false),
        ("runningTasksCount == 3", true),
        ("runningTasksCount > 10", false),
        ("task:group == database", true),
        ("task:group == service:production", true),
        ("task:group != database", false),
        ("task:group !~ web.*", true),
        ("not(task:group == database)", false),
        ("task:group == web or task:group == database", true),
        (
            "task:group == web || agentConnected == true && runningTasksCount == 9",
            false,
        ),
        (
            "(task:group == database || agentConnected == false) and runningTasksCount == 3",
            true,
        ),
        ("!agentConnected == false", true),
        ("not not agentConnected == true", true),
        ("agentConnected==true&&runningTasksCount<=3", true),
    ] {
        let query = Query::parse(expression).unwrap_or_else(|err| panic!("{expression}: {err}"));
        assert_eq!(query.matches(&Host), holds, "{expression}");
        let again = Query::parse(&query.to_string()).unwrap();
        assert_eq!(again.to_string(), query.to_string(), "{expression}");
        assert_eq!(again.matches(&Host), holds, "{query}");
    }
}

#[test]
fn malformed_expressions_say_where() {
    for (expression, at) in [
        ("", 0),
        ("attribute:", 0),
        ("colour == red", 0),
        ("attribute:a", 11),
        ("attribute:a ==", 14),
        ("attribute:a == 'b", 15),
        ("attribute:a in b", 15),
        ("attribute:a in [b", 17),
        ("attribute:a == b c", 17),
        ("(attribute:a == b", 17),
        ("attribute:a == b)", 16),
        ("runningTasksCount == x", 0),
        ("runningTasksCount exists", 0),
        ("registeredAt == yesterday", 0),
        ("agentConnected > true", 0),
        ("attribute:a =~ [", 15),
        ("attribute:a == b and", 20),
        // A pattern with parentheses needs quotes.
        ("attribute:a =~ t(1|2)", 16),
    ] {
        let err = Query::parse(expression).expect_err(expression);
        assert!(
            err.to_string().starts_with(&format!("at {at}: ")),
            "{expression}: {err}"
        );
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let deep = format!("{}agentConnected == true{}", "(".repeat(65), ")".repeat(65));
    assert!(Query::parse(&deep).is_err());
    assert!(Query::parse(&"!".repeat(1_900)).is_err());
    assert!(Query::parse(&deep[1..deep.len() - 1]).is_ok());
    assert!(Query::parse(&format!("attribute:{} exists", "a".repeat(2_000))).is_err());
}

fn condition() -> impl Strategy<Value = String> {
    prop_oneof![
        "attribute:[a-z.]{1,8} (==|!=|<|>=) [a-z0-9.]{1,8}",
        "attribute:[a-z]{1,4} (exists|!exists|not_exists)",
        "attribute:(stack|ssd) (in|!in|not_in) \\[[a-z]{1,4}(, '[a-z ]{1,4}')?\\]",
        "task:group (==|!=|=~|!~) [a-z]{1,4}",
        "runningTasksCount (==|<|>=) [0-9]{1,3}",
        "agentVersion (<|>|==) [0-9]\\.[0-9]{1,2}",
    ]
}

fn expression() -> impl Strategy<Value = String> {
    condition().prop_recursive(5, 32, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} and {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_shown_reads_back(text in expression()) {
        let query = Query::parse(&text).unwrap();
        let again = Query::parse(&query.to_string()).unwrap();
        prop_assert_eq!(query.to_string(), again.to_string());
        prop_assert_eq!(query.matches(&Host), again.matches(&Host));
    }

    #[test]
    fn negation_and_de_morgan_hold(a in expression(), b in expression()) {
        let holds = |text: &str| Query::parse(text).unwrap().matches(&Host);
        prop_assert_eq!(holds(&format!("not({a})")), !holds(&a));
        prop_assert_eq!(
            holds(&format!("not(({a}) and ({b}))")),
            holds(&format!("(not({a})) or (not({b}))"))
        );
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Query::parse(&text).map(|query| query.matches(&Host));
    }

    #[test]
    fn no_mixture_of_tokens_panics(text in "(attribute:a|task:group|==|=~|in|\\[|\\]|\\(|\\)|!|not|or|&&|'|\"|x|é| ){0,40}") {
        let _ = Query::parse(&text).map(|query| query.matches(&Host));
    }
}
