//! What would be applied: the objects of a kustomization, and the ways from one to another.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::{Map, Value};

use crate::house::workspace;

/// The programs that have settings; each is the name of an image, a Deployment and a container.
pub const PROGRAMS: [&str; 2] = ["api-service", "export-worker"];

/// The objects of a kustomization.
pub struct Rendered {
    /// Which it is, for messages.
    pub name: String,
    /// As they would be applied.
    pub objects: Vec<Value>,
}

/// The folder of it all.
pub fn folder() -> PathBuf {
    workspace().join("deploy/kubernetes")
}

/// Everything that the README tells to apply: the base, both overlays, and production with the components that it does not
/// have itself.
pub fn everything() -> Vec<Rendered> {
    let with = ["api-tls", "fhir-server", "s3-keys", "web-identity"];
    thread::scope(|scope| {
        let plain = ["base", "overlays/dev", "overlays/production"].map(|path| scope.spawn(move || render(path)));
        let more = scope.spawn(|| production_with(&with));
        plain
            .into_iter()
            .chain([more])
            .map(|rendering| rendering.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// What `kubectl kustomize` makes of a folder in `deploy/kubernetes`.
pub fn render(path: &str) -> Rendered {
    Rendered { name: path.to_owned(), objects: kustomize(&folder().join(path)) }
}

/// Production with more components, as an overlay would have it.
fn production_with(components: &[&str]) -> Rendered {
    let overlay = tempfile::tempdir().expect("a folder for temporary files can be had");
    let here = overlay.path().canonicalize().expect("it was made just now");
    let there = folder().canonicalize().expect("it is there");
    // kustomize takes no absolute paths.
    let down = there.strip_prefix("/").expect("it is absolute").to_str().expect("it is text");
    let there = "../".repeat(here.components().count() - 1) + down;
    let mut text = format!("resources:\n  - {there}/overlays/production\ncomponents:\n");
    for component in components {
        let _ = writeln!(text, "  - {there}/components/{component}");
    }
    fs::write(here.join("kustomization.yaml"), text).expect("it can be written to");
    Rendered { name: "production with more components".to_owned(), objects: kustomize(&here) }
}

/// The program that a variable names; `tests/run` sees to it.
pub fn tool(variable: &str) -> Command {
    let program = env::var_os(variable);
    Command::new(
        program
            .unwrap_or_else(|| panic!("{variable} is not set: run this test with tests/run, which provides the tools")),
    )
}

fn kustomize(folder: &Path) -> Vec<Value> {
    let output = tool("TEST_KUBECTL").arg("kustomize").arg(folder).output().expect("tests/run has tried kubectl");
    let (text, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.is_empty(), "kubectl kustomize {}: {said}", folder.display());
    serde_saphyr::from_multiple(&text).expect("kubectl writes YAML")
}

impl Rendered {
    /// The objects of a kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind)
    }

    /// The object of this kind and name.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind && name_of(object) == name)
    }

    /// All objects that make pods, each with its template.
    pub fn templates(&self) -> impl Iterator<Item = (&Value, &Value)> {
        let templates = self.objects.iter().map(|object| (object, &object["spec"]["template"]));
        templates.filter(|(_, template)| template["spec"]["containers"].is_array())
    }

    /// The template of the pods that run a program, and the container that it is in.
    pub fn program(&self, name: &str) -> (&Value, &Value) {
        let deployment = self.find("Deployment", name).unwrap_or_else(|| panic!("{}: no Deployment {name}", self.name));
        let template = &deployment["spec"]["template"];
        let container = list(&template["spec"]["containers"]).iter().find(|container| container["name"] == name);
        (template, container.unwrap_or_else(|| panic!("{}: {name} has no container of its name", self.name)))
    }

    /// The ConfigMap or the Secret that is meant, by its key: what an environment or a volume takes from it.
    pub fn data(&self, kind: &str, name: &str) -> Option<&Map<String, Value>> {
        self.find(kind, name)?["data"].as_object()
    }

    /// Whether some pod has all these labels; `selector` is that of a Deployment or a NetworkPolicy.
    pub fn selects_some_pod(&self, selector: &Value) -> bool {
        self.templates().any(|(_, template)| selects(selector, &template["metadata"]["labels"]))
    }
}

/// Whether a label selector selects what has these labels.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().expect("a selector is an object");
    selector.iter().all(|(how, what)| match how.as_str() {
        "matchLabels" => what.as_object().expect("an object").iter().all(|(key, value)| labels[key] == *value),
        "matchExpressions" => list(what).iter().all(|expression| {
            assert_eq!(expression["operator"], "In", "the tests know no other operator");
            list(&expression["values"]).contains(&labels[text(&expression["key"])])
        }),
        _ => panic!("a selector has no {how}"),
    })
}

/// The containers of a pod, with those that run before the others.
pub fn containers(template: &Value) -> impl Iterator<Item = &Value> {
    list(&template["spec"]["initContainers"]).iter().chain(list(&template["spec"]["containers"]))
}

/// The name and the tag of an image of ours, whatever registry it comes from; `None` is somebody else's.
pub fn our_image(container: &Value) -> Option<&str> {
    let (registry, ours) = text(&container["image"]).split_once("atr/")?;
    (registry.is_empty() || registry.ends_with('/')).then_some(ours)
}

/// A list; nothing where there is none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text that has to be there.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// A number that has to be there.
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The name of an object.
pub fn name_of(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

/// Every value in a tree, itself among them.
pub fn all_values(value: &Value) -> Vec<&Value> {
    let mut all = vec![value];
    match value {
        Value::Array(values) => all.extend(values.iter().flat_map(all_values)),
        Value::Object(fields) => all.extend(fields.values().flat_map(all_values)),
        _ => {}
    }
    all
}

/// Fails with all that is wrong.
pub fn nothing_is_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "{wrong:#?}");
}
