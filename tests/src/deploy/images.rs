//! The images (`deploy/Dockerfile`) hold the programs of the workspace, and can be built from what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use shared::settings::Settings;

use super::dockerfile::{Dockerfile, Stage};
use crate::house::{files, workspace};

/// What cargo knows of a member of the workspace.
struct Member {
    name: String,
    version: String,
    license: String,
    rust_version: String,
    folder: String,
    programs: Vec<String>,
    /// Members that its programs are made of, by their folders.
    needs: Vec<String>,
}

fn members() -> Vec<Member> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(workspace())
        .output()
        .expect("cargo runs the tests, so it is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let root = metadata["workspace_root"].as_str().expect("there is one");
    let below = |path: &Value| {
        let path = Path::new(path.as_str().expect("it is a path"));
        path.strip_prefix(root).expect("members are below the root").to_string_lossy().into_owned()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().expect("it is a list").clone();
    let member = |package: Value| Member {
        name: text(&package["name"]),
        version: text(&package["version"]),
        license: text(&package["license"]),
        rust_version: text(&package["rust_version"]),
        folder: below(&package["manifest_path"]).trim_end_matches("/Cargo.toml").to_owned(),
        programs: {
            let targets = list(&package["targets"]).into_iter();
            targets
                .filter(|target| target["kind"] == serde_json::json!(["bin"]))
                .map(|bin| text(&bin["name"]))
                .collect()
        },
        needs: {
            let all = list(&package["dependencies"]).into_iter();
            let needed = all.filter(|other| other["kind"].is_null() && other["path"].is_string());
            needed.map(|other| below(&other["path"])).collect()
        },
    };
    list(&metadata["packages"]).into_iter().map(member).collect()
}

/// The members that the programs of the images are made of.
fn compiled(members: &[Member], dockerfile: &Dockerfile) -> BTreeMap<String, String> {
    let programs: Vec<&str> = dockerfile.images().iter().map(|image| image.name.as_str()).collect();
    let has_one = |member: &&Member| member.programs.iter().any(|program| programs.contains(&program.as_str()));
    let mut open: Vec<&Member> = members.iter().filter(has_one).collect();
    let mut found = BTreeMap::new();
    while let Some(member) = open.pop() {
        found.insert(member.folder.clone(), member.name.clone());
        open.extend(members.iter().filter(|other| member.needs.contains(&other.folder)));
    }
    found
}

fn set<'a>(items: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    items.into_iter().map(str::to_owned).collect()
}

#[test]
fn there_is_an_image_of_each_program_that_is_deployed() {
    let dockerfile = Dockerfile::read();
    let images = set(dockerfile.images().into_iter().map(|image| image.name.as_str()));
    assert_eq!(images, set(["api-service", "atr", "export-worker"]));
}

#[test]
fn an_image_runs_the_one_program_that_it_holds() {
    let (dockerfile, members) = (Dockerfile::read(), members());
    for image in dockerfile.images() {
        let name = &image.name;
        assert!(members.iter().any(|member| member.programs.contains(name)), "the workspace has no program {name}");
        assert_eq!(image.entrypoint(), [format!("/usr/local/bin/{name}")]);
        let programs: Vec<&str> = image.all("COPY").into_iter().filter(|copy| copy.contains("/target/")).collect();
        assert_eq!(programs, [format!("--from=build /src/target/release/{name} /usr/local/bin/")]);
    }
}

#[test]
fn an_image_needs_no_shell_and_no_root() {
    let dockerfile = Dockerfile::read();
    for image in dockerfile.images() {
        let (base, instructions) = dockerfile.up_to(image);
        assert_eq!(base, "${RUNTIME_IMAGE}", "{}: only this one is known to hold nothing else", image.name);
        let words = |word: &str| -> Vec<&str> {
            instructions.iter().filter(|(other, _)| other == word).map(|(_, rest)| rest.as_str()).collect()
        };
        for word in ["RUN", "CMD", "SHELL", "ADD", "HEALTHCHECK"] {
            assert_eq!(
                words(word),
                [""; 0],
                "{}: {word} wants a shell, or gives the image more than it needs",
                image.name
            );
        }
        assert_eq!(words("USER"), ["65532:65532"], "{}", image.name);
        assert_eq!(words("STOPSIGNAL"), ["SIGTERM"], "{}: on which services stop in good order", image.name);
    }
}

#[test]
fn the_bases_can_be_chosen_and_fit_the_workspace_and_each_other() {
    let dockerfile = Dockerfile::read();
    for stage in &dockerfile.stages {
        let is_chosen = ["${RUST_IMAGE}", "${RUNTIME_IMAGE}"].contains(&stage.from.as_str());
        assert!(is_chosen || dockerfile.stage(&stage.from).is_some(), "FROM {}: name it in an ARG", stage.from);
    }
    let (rust, runtime) = (dockerfile.default("RUST_IMAGE"), dockerfile.default("RUNTIME_IMAGE"));
    assert!(dockerfile.arguments["RUST_IMAGE"].starts_with("${REGISTRY}/"), "{rust}: a mirror may take its place");
    let wanted = members().remove(0).rust_version;
    assert!(rust.contains(&format!("/rust:{wanted}-")), "{rust}: Cargo.toml asks for Rust {wanted}");
    let releases = [("bookworm", "debian12"), ("trixie", "debian13")];
    let fit = |(name, number): &(&str, &str)| rust.contains(name) && runtime.contains(number);
    assert!(releases.iter().any(fit), "{rust} and {runtime} are of different Debians, with different glibcs");
}

#[test]
fn what_is_copied_is_there_and_nothing_else_is_sent_to_the_builder() {
    let dockerfile = Dockerfile::read();
    let copied = dockerfile.copied();
    for path in &copied {
        assert!(workspace().join(path).exists(), "deploy/Dockerfile copies {path}, which is not there");
    }
    let ignored = fs::read_to_string(workspace().join(".dockerignore")).expect("it is there");
    let mut rules = ignored.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(rules.next(), Some("*"), ".dockerignore begins with nothing at all");
    let sent: Vec<&str> = rules.map(|rule| rule.strip_prefix('!').expect("it only lets things in")).collect();
    let is_in = |path: &str, folder: &str| path == folder || path.starts_with(&format!("{folder}/"));
    for path in &copied {
        assert!(sent.iter().any(|folder| is_in(path, folder)), ".dockerignore keeps {path} out, which is copied");
    }
    for folder in &sent {
        assert!(copied.contains(folder), ".dockerignore lets {folder} in, which nobody copies");
    }
}

#[test]
fn the_dependencies_are_built_from_the_manifests_of_all_members() {
    let dockerfile = Dockerfile::read();
    let copied = set(dockerfile.stage("manifests").expect("it is there").all("COPY"));
    let mut wanted = set(["Cargo.toml Cargo.lock ./"]);
    wanted.extend(members().iter().map(|Member { folder, .. }| format!("{folder}/Cargo.toml {folder}/")));
    assert_eq!(copied, wanted);
}

/// What of them was made without source is thrown away, and the source is copied.
#[test]
fn every_member_that_a_program_is_made_of_is_built_from_its_source() {
    let (dockerfile, members) = (Dockerfile::read(), members());
    let compiled = compiled(&members, &dockerfile);
    let build = dockerfile.stage("build").expect("it is there");
    let sources = compiled.keys().map(|folder| format!("{folder} {folder}"));
    assert_eq!(set(build.all("COPY")), sources.collect(), "what is copied into the stage `build`");

    let steps = dependencies(build);
    let of = |command: &str| -> BTreeSet<String> {
        let step = steps.iter().find_map(|step| step.strip_prefix(command));
        let step = step.unwrap_or_else(|| panic!("no step begins with {command}: {steps:?}"));
        set(step.split_whitespace().filter(|word| *word != "-p"))
    };
    assert_eq!(of("cargo clean --release --locked "), compiled.values().cloned().collect());
    assert_eq!(of("rm -r "), compiled.keys().map(|folder| format!("{folder}/src")).collect());
}

/// The commands that build what is not ours.
fn dependencies(build: &Stage) -> Vec<&str> {
    build.all("RUN")[0].split("&&").map(str::trim).collect()
}

#[test]
fn programs_and_dependencies_are_built_by_the_same_command() {
    let dockerfile = Dockerfile::read();
    let build = dockerfile.stage("build").expect("it is there");
    let programs = build.all("RUN")[1];
    assert_eq!(dependencies(build)[0], programs, "else features differ, and dependencies are built again");
    let mut words = programs.split(" --bin ");
    assert_eq!(words.next(), Some("cargo build --release --locked --workspace"));
    assert_eq!(set(words), set(dockerfile.images().into_iter().map(|image| image.name.as_str())));
}

#[test]
fn what_source_includes_is_copied_with_it() {
    let dockerfile = Dockerfile::read();
    let mut included = 0;
    for folder in compiled(&members(), &dockerfile).keys() {
        let room = workspace().join(folder).canonicalize().expect("it is there");
        for file in files(&room.join("src")) {
            let text = fs::read_to_string(&file).expect("source files are text");
            for rest in text.split("include_str!(\"").skip(1).chain(text.split("include_bytes!(\"").skip(1)) {
                let path: PathBuf = file.with_file_name(rest.split('"').next().expect("it has a first part"));
                let path = path.canonicalize().unwrap_or_else(|_| panic!("{} is not there", path.display()));
                assert!(path.starts_with(&room), "{} is not in {folder}, and not in the builder", path.display());
                included += 1;
            }
        }
    }
    assert!(included > 10, "scripts and migrations are included: {included}");
}

#[test]
fn labels_tell_version_and_licence_of_the_workspace() {
    let (dockerfile, member) = (Dockerfile::read(), members().remove(0));
    let runtime = dockerfile.stage("runtime").expect("it is there");
    assert!(runtime.all("ARG").contains(&format!("VERSION={}", member.version).as_str()), "ARG VERSION");
    let labels = runtime.all("LABEL").join(" ");
    for label in [
        "version=${VERSION}".to_owned(),
        "revision=${REVISION}".to_owned(),
        "source=${SOURCE}".to_owned(),
        format!("licenses={}", member.license),
    ] {
        let label = format!("org.opencontainers.image.{label}");
        assert!(labels.split(' ').any(|other| other == label), "there is no {label} in {labels}");
    }
    for image in dockerfile.images() {
        let title = format!("org.opencontainers.image.title={}", image.name);
        assert!(image.all("LABEL").join(" ").contains(&title), "{}: there is no {title}", image.name);
    }
}

#[test]
fn the_ports_of_an_image_are_those_that_its_program_listens_on() {
    let dockerfile = Dockerfile::read();
    for image in dockerfile.images() {
        let variables = image.variables();
        // What clients call it, an image cannot know.
        let told = [("ATR_PUBLIC_URL".to_owned(), "https://export.example.org/fhir".to_owned())];
        let all = variables.clone().into_iter().chain(told);
        Settings::from_variables(all).unwrap_or_else(|wrong| panic!("{}: {wrong}", image.name));
        let listens = variables.values().map(|address| {
            let port = address.strip_prefix("0.0.0.0:");
            port.unwrap_or_else(|| panic!("{}: nobody outside the container reaches {address}", image.name))
        });
        let exposed = image.all("EXPOSE").join(" ");
        assert_eq!(set(exposed.split_whitespace()), set(listens), "{}", image.name);
    }
}
