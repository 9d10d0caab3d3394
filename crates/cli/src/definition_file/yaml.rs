//! YAML: the same members as in JSON. A number where ECS wants text (`cpu: 256`, the value of a
//! variable) is that text, as it is in a CloudFormation template.

use serde_json::Value;
use windlass_wire::ops::RegisterTaskDefinitionRequest;
use windlass_wire::shape::{Kind, Shape, shape_of};

pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut value: Value = serde_saphyr::from_str(text)
        .map_err(|err| format!("it is no YAML: {}", first_line(&err.to_string())))?;
    let shape = shape_of::<RegisterTaskDefinitionRequest>();
    if let Some(inner) = value.get_mut("taskDefinition") {
        structure(inner, shape);
    }
    structure(&mut value, shape);
    Ok(value)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

fn structure(value: &mut Value, shape: &'static Shape) {
    let Some(members) = value.as_object_mut() else {
        return;
    };
    for member in shape.members {
        if let Some(value) = members.get_mut(member.name) {
            typed(value, &member.kind);
        }
    }
}

fn typed(value: &mut Value, kind: &'static Kind) {
    match (kind, &mut *value) {
        (Kind::Structure(shape), _) => structure(value, shape),
        (Kind::List(kind), Value::Array(items)) => {
            items.iter_mut().for_each(|item| typed(item, kind));
        }
        (Kind::Map, Value::Object(entries)) => {
            entries.values_mut().for_each(to_text);
        }
        (Kind::String | Kind::Enum(_), _) => to_text(value),
        _ => {}
    }
}

fn to_text(value: &mut Value) {
    if let Value::Number(_) | Value::Bool(_) = value {
        *value = Value::String(value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_text_where_text_is_wanted() {
        let text = "
family: web
cpu: 256
containerDefinitions:
  - name: web
    image: nginx
    memory: 64
    command: [sleep, 5]
    environment:
      - {name: PORT, value: 8080}
      - {name: DEBUG, value: true}
    dockerLabels: {tier: 1}
    portMappings: [{containerPort: 80}]
";
        let expected = json!({
            "family": "web", "cpu": "256",
            "containerDefinitions": [{
                "name": "web", "image": "nginx", "memory": 64, "command": ["sleep", "5"],
                "environment": [{ "name": "PORT", "value": "8080" },
                                { "name": "DEBUG", "value": "true" }],
                "dockerLabels": { "tier": "1" }, "portMappings": [{ "containerPort": 80 }],
            }],
        });
        assert_eq!(read(text).unwrap(), expected);
        let wrapped = json!({ "taskDefinition": { "cpu": "256" } });
        assert_eq!(read("taskDefinition: {cpu: 256}").unwrap(), wrapped);
    }

    #[test]
    fn anchors_do_not_fill_the_memory() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let last = format!("*a{}, ", n - 1).repeat(10);
            text.push_str(&format!("a{n}: &a{n} [{last}]\n"));
        }
        assert!(read(&text).is_err());
    }
}
