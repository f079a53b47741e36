//! `deploy/Dockerfile`, read as far as tests ask.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::house::workspace;

/// The stages of the file, and the arguments that choose their bases.
pub struct Dockerfile {
    /// The `ARG`s in front of the first stage, with their defaults as they are written.
    pub arguments: BTreeMap<String, String>,
    /// In their order.
    pub stages: Vec<Stage>,
}

/// What one `FROM` begins.
pub struct Stage {
    /// What comes after `AS`.
    pub name: String,
    /// What it stands on: an image, or a stage.
    pub from: String,
    /// What comes after `FROM`, without comments, each on one line: the word, and the rest.
    pub instructions: Vec<(String, String)>,
}

impl Dockerfile {
    /// The file of this workspace.
    pub fn read() -> Self {
        let text = fs::read_to_string(workspace().join("deploy/Dockerfile")).expect("it is there");
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        let joined = lines.join("\n").replace("\\\n", " ");
        let (mut arguments, mut stages) = (BTreeMap::new(), Vec::<Stage>::new());
        for line in joined.lines().filter(|line| !line.trim().is_empty()) {
            let (word, rest) = line.trim().split_once(' ').expect("an instruction has arguments");
            let rest = rest.split_whitespace().collect::<Vec<_>>().join(" ");
            match (word, stages.last_mut()) {
                ("FROM", _) => {
                    let (from, name) = rest.split_once(" AS ").expect("every stage has a name");
                    stages.push(Stage { name: name.to_owned(), from: from.to_owned(), instructions: Vec::new() });
                }
                ("ARG", None) => {
                    let (name, default) = rest.split_once('=').expect("an argument has a default");
                    arguments.insert(name.to_owned(), default.to_owned());
                }
                (_, Some(stage)) => stage.instructions.push((word.to_owned(), rest)),
                (_, None) => panic!("{word} stands in front of the first stage"),
            }
        }
        Self { arguments, stages }
    }

    /// The stages that become images: those with an entrypoint.
    pub fn images(&self) -> Vec<&Stage> {
        self.stages.iter().filter(|stage| !stage.all("ENTRYPOINT").is_empty()).collect()
    }

    /// The stage of this name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The image below this stage, as it is written, and all instructions from there up to the end of the stage.
    pub fn up_to<'a>(&'a self, stage: &'a Stage) -> (&'a str, Vec<&'a (String, String)>) {
        let (base, mut instructions) = match self.stage(&stage.from) {
            Some(below) => self.up_to(below),
            None => (stage.from.as_str(), Vec::new()),
        };
        instructions.extend(&stage.instructions);
        (base, instructions)
    }

    /// The default of an argument, with other arguments put in.
    pub fn default(&self, name: &str) -> String {
        let mut text = self.arguments.get(name).unwrap_or_else(|| panic!("there is no ARG {name}")).clone();
        for (other, value) in &self.arguments {
            text = text.replace(&format!("${{{other}}}"), value);
        }
        text
    }

    /// What is copied from the context, over all stages.
    pub fn copied(&self) -> Vec<&str> {
        let copies = self.stages.iter().flat_map(|stage| stage.all("COPY"));
        let from_context = copies.filter(|rest| !rest.starts_with("--"));
        from_context.flat_map(|rest| rest.rsplit_once(' ').expect("it goes somewhere").0.split(' ')).collect()
    }
}

impl Stage {
    /// What stands after each of the instructions of this word.
    pub fn all(&self, word: &str) -> Vec<&str> {
        self.instructions.iter().filter(|(other, _)| other == word).map(|(_, rest)| rest.as_str()).collect()
    }

    /// The program that an image runs; panics when it runs it by a shell.
    pub fn entrypoint(&self) -> Vec<String> {
        let [text] = self.all("ENTRYPOINT")[..] else { panic!("{} has one entrypoint", self.name) };
        let words: Value = serde_json::from_str(text)
            .unwrap_or_else(|_| panic!("{}: there is no shell to run {text}; write it as [\"…\"]", self.name));
        serde_json::from_value(words).expect("it is a list of words")
    }

    /// The variables that an image sets.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let pairs = self.all("ENV").into_iter().flat_map(|rest| rest.split(' '));
        pairs.filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}
