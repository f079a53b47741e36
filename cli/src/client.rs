//! The register of clients, on the command line: `add`, `list`, `remove`.
//!
//! Services read the file again by themselves. It is replaced as a whole, so that none of them sees a half of it, and checked
//! before, so that none of them is given what it would refuse.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use shared::access::clients::{All, ClientEntry, Clients, IssuerEntry, ListsEntry, Register, SomeLists};
use shared::access::key_pair::{KeyKind, PrivateKey};
use shared::fhir::Identifier;
use shared::settings::OWN_TOKEN_PATH;

use crate::arguments::{
    AddClientArguments, Algorithm, ClientCommand, ListsArguments, ProofArguments, RemoveClientArguments,
};

/// Who may read a new file of ours: its owner.
const PRIVATE: u32 = 0o600;

/// Runs a command on the register.
pub fn client(command: ClientCommand) -> anyhow::Result<()> {
    match command {
        ClientCommand::Add(arguments) => add(&arguments),
        ClientCommand::List(arguments) => {
            print!("{}", table(&read_existing(&arguments.file)?));
            Ok(())
        }
        ClientCommand::Remove(arguments) => remove(&arguments),
    }
}

fn add(arguments: &AddClientArguments) -> anyhow::Result<()> {
    let file = &arguments.register.file;
    let mut register = read(file)?.unwrap_or_default();
    let is_it = |entry: &ClientEntry| is(entry, &arguments.client_id, arguments.proof.issuer.as_ref());
    if register.clients.iter().any(is_it) && !arguments.replace {
        bail!(
            "client '{}' is registered in {} already; --replace registers it anew",
            arguments.client_id,
            file.display()
        );
    }
    register.clients.retain(|entry| !is_it(entry));
    add_issuer(&mut register, &arguments.proof, arguments.replace)?;
    let (jwks, new_key) = keys(&arguments.proof)?;
    register.clients.push(ClientEntry {
        client_id: arguments.client_id.clone(),
        client_name: arguments.name.clone(),
        scope: arguments.scope.clone(),
        lists: lists(&arguments.lists)?,
        jwks_uri: arguments.proof.jwks_uri.clone(),
        jwks,
        issuer: arguments.proof.issuer.clone(),
    });
    Clients::check(register.clone()).map_err(|why| anyhow!("nothing is registered: {why}"))?;
    // The key first: a client that is registered without one could never come.
    if let Some(new) = &new_key {
        write_key(&new.file, &new.pem)?;
    }
    if let Err(error) = write(file, &register) {
        if let Some(new) = &new_key {
            // Nobody has registered its other half.
            let _ = fs::remove_file(&new.file);
        }
        return Err(error);
    }
    println!("registered client {} in {}", arguments.client_id, file.display());
    print_needs(arguments, new_key.as_ref());
    Ok(())
}

fn is(entry: &ClientEntry, client_id: &str, issuer: Option<&String>) -> bool {
    entry.client_id == client_id && entry.issuer.as_ref() == issuer
}

/// Puts the issuer into the register, if it is described. All clients of an issuer depend on what is said of it, so it is
/// changed only when that is meant.
fn add_issuer(register: &mut Register, proof: &ProofArguments, may_replace: bool) -> anyhow::Result<()> {
    let (Some(issuer), Some(jwks_uri)) = (&proof.issuer, &proof.issuer_jwks_uri) else { return Ok(()) };
    let described = IssuerEntry {
        issuer: issuer.clone(),
        jwks_uri: jwks_uri.clone(),
        audience: proof.audience.clone(),
        client_claim: proof.client_claim.clone(),
    };
    match register.issuers.iter_mut().find(|entry| entry.issuer == *issuer) {
        None => register.issuers.push(described),
        Some(entry) if *entry == described => {}
        Some(entry) if may_replace => *entry = described,
        Some(_) => bail!("the issuer {issuer} is registered in another way; --replace changes it for all its clients"),
    }
    Ok(())
}

fn lists(arguments: &ListsArguments) -> anyhow::Result<ListsEntry> {
    if arguments.all_lists {
        return Ok(ListsEntry::All(All::All));
    }
    let mut some = SomeLists::default();
    for id in &arguments.list {
        some.ids.insert(id.parse().with_context(|| format!("--list {id}"))?);
    }
    for (system, numbers) in [(Identifier::NPI, &arguments.npi), (Identifier::TIN, &arguments.tin)] {
        for number in numbers {
            let identifier = Identifier::new(system, number).with_context(|| format!("'{number}'"))?;
            some.identifiers.insert(identifier);
        }
    }
    for identifier in &arguments.identifier {
        some.identifiers.insert(identifier.parse().with_context(|| format!("--identifier {identifier}"))?);
    }
    Ok(ListsEntry::Some(some))
}

/// A key pair that was made for a client.
struct NewKey {
    file: PathBuf,
    pem: String,
    key: PrivateKey,
}

/// The keys that are written into the register, and the pair that they are of when it was made here.
fn keys(proof: &ProofArguments) -> anyhow::Result<(Option<Value>, Option<NewKey>)> {
    if let Some(file) = &proof.jwks {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let keys = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", file.display()))?;
        return Ok((Some(keys), None));
    }
    if let Some(file) = &proof.new_key {
        let kind = match proof.algorithm {
            Algorithm::Es384 => KeyKind::Es384,
            Algorithm::Rs384 => KeyKind::Rs384,
        };
        let (pem, key) = PrivateKey::generate(kind)?;
        return Ok((Some(key.public_set()), Some(NewKey { file: file.clone(), pem, key })));
    }
    if proof.jwks_uri.is_none() && proof.issuer.is_none() {
        bail!("say how the client proves who it is: --jwks-uri, --jwks, --new-key or --issuer");
    }
    Ok((None, None))
}

/// Prints what has to reach the client, and how to try it.
fn print_needs(arguments: &AddClientArguments, new_key: Option<&NewKey>) {
    let server = arguments.server.as_deref().map_or("[FHIR base]", |server| server.trim_end_matches('/'));
    let line = |name: &str, value: &str| println!("  {name:<16} {value}");
    println!("\nwhat the client needs:");
    line("FHIR base", server);
    line("client_id", &arguments.client_id);
    line("scope", &arguments.scope);
    if let Some(issuer) = &arguments.proof.issuer {
        line("tokens from", issuer);
        return;
    }
    line("token endpoint", &format!("{server}/{OWN_TOKEN_PATH}   (aud of its assertions)"));
    let Some(new) = new_key else {
        line("algorithm", "RS384 or ES384, by a key with a kid among those that are registered");
        return;
    };
    let file = new.file.display();
    line("algorithm", new.key.kind().name());
    line("kid", new.key.id());
    line("private key", &format!("{file}   (for the client alone; keep no copy)"));
    println!(
        "\nto try it:\n  atr export --server {server} --client {} --key {file} --list ID --out DIR",
        arguments.client_id
    );
}

fn remove(arguments: &RemoveClientArguments) -> anyhow::Result<()> {
    let file = &arguments.register.file;
    let mut register = read_existing(file)?;
    let before = register.clients.len();
    register.clients.retain(|entry| !is(entry, &arguments.client_id, arguments.issuer.as_ref()));
    if register.clients.len() == before {
        let of_whom = arguments.issuer.as_deref().unwrap_or("this server; --issuer names another issuer");
        bail!("no client '{}' with tokens of {of_whom} is registered in {}", arguments.client_id, file.display());
    }
    write(file, &register)?;
    println!("took client {} out of {}", arguments.client_id, file.display());
    Ok(())
}

/// The register in a file; `None` when there is no file.
fn read(file: &Path) -> anyhow::Result<Option<Register>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(Register::read(&text).with_context(|| file.display().to_string())?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

fn read_existing(file: &Path) -> anyhow::Result<Register> {
    read(file)?.with_context(|| format!("there is no file {}", file.display()))
}

/// Replaces the file by another with this register. Whoever could read it still can: a service that cannot would go on with
/// what it said before. A new one is its owner's.
fn write(file: &Path, register: &Register) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(register)? + "\n";
    // Through a link, so that the link stays one.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut name = target.file_name().context("the register needs a name")?.to_owned();
    name.push(format!(".new.{}", std::process::id()));
    let new = target.with_file_name(name);
    let written = write_new(&new, &text, PRIVATE)
        .and_then(|()| match fs::metadata(&target) {
            Ok(old) => take_after(&new, &old),
            Err(_) => Ok(()),
        })
        .and_then(|()| fs::rename(&new, &target));
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&new);
    }
    written.with_context(|| format!("cannot write {}, for whoever could read it before", file.display()))
}

/// Gives a file the owner, the group and the mode of another.
fn take_after(new: &Path, old: &fs::Metadata) -> std::io::Result<()> {
    let own = fs::metadata(new)?;
    if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
        std::os::unix::fs::chown(new, Some(old.uid()), Some(old.gid()))?;
    }
    fs::set_permissions(new, old.permissions())
}

/// Writes a private key; never over another, which would be lost.
fn write_key(file: &Path, pem: &str) -> anyhow::Result<()> {
    write_new(file, pem, PRIVATE)
        .with_context(|| format!("cannot write the private key to the new file {}", file.display()))
}

fn write_new(file: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()
}

/// The clients, a line each.
fn table(register: &Register) -> String {
    let row = |entry: &ClientEntry| {
        let lists = match &entry.lists {
            ListsEntry::All(All::All) => "all".to_owned(),
            ListsEntry::Some(some) => {
                let ids = some.ids.iter().map(ToString::to_string);
                ids.chain(some.identifiers.iter().map(ToString::to_string)).collect::<Vec<_>>().join(" ")
            }
        };
        let proof = match (&entry.jwks_uri, &entry.issuer) {
            (Some(url), _) => url.clone(),
            (_, Some(issuer)) => format!("tokens of {issuer}"),
            _ => "keys in the register".to_owned(),
        };
        [entry.client_id.clone(), entry.client_name.clone().unwrap_or_default(), entry.scope.clone(), proof, lists]
    };
    let head = ["CLIENT", "NAME", "SCOPE", "PROOF", "LISTS"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(register.clients.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn run(line: &str, file: &Path) -> anyhow::Result<()> {
        let words = format!("atr client {line}");
        let mut words: Vec<&str> = words.split(' ').collect();
        if !words.contains(&"--file") {
            words.extend(["--file", file.to_str().expect("it is text")]);
        }
        let arguments = Arguments::try_parse_from(words)?;
        let Some(Command::Client(command)) = arguments.command else { panic!("it is a command on clients") };
        client(command)
    }

    fn mode(file: &Path) -> u32 {
        fs::metadata(file).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_client_is_registered_with_a_key_pair_of_its_own_and_taken_out_again() {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let (file, key) = (folder.path().join("clients.json"), folder.path().join("north.pem"));
        let key_name = key.to_str().expect("it is text");
        run(&format!("add north --npi 1316206220 --tin 12-3 --list g1 --new-key {key_name}"), &file).expect("it works");
        assert_eq!((mode(&file), mode(&key)), (0o600, 0o600));

        let pem = fs::read_to_string(&key).expect("it was written");
        let private = PrivateKey::from_pem(&pem).expect("it is a private key");
        let text = fs::read_to_string(&file).expect("it was written");
        assert!(!text.contains("PRIVATE"));
        let register: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(register["clients"][0]["jwks"], private.public_set());
        assert_eq!(
            register["clients"][0]["lists"],
            json!({
                "ids": ["g1"],
                "identifiers": ["http://hl7.org/fhir/sid/us-npi|1316206220", "urn:oid:2.16.840.1.113883.4.4|12-3"],
            })
        );
        let clients = Clients::read(&text).expect("the services take it");
        assert!(clients.own("north").is_some());

        run("remove north", &file).expect("it is there");
        assert!(run("remove north", &file).is_err());
        assert_eq!(read(&file).expect("it can be read"), Some(Register::default()));
    }

    #[test]
    fn nothing_is_registered_that_the_services_would_refuse_and_no_key_is_lost() {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let (file, key) = (folder.path().join("clients.json"), folder.path().join("north.pem"));
        fs::write(&key, "another key").expect("it can be written");
        let key_name = key.to_str().expect("it is text").to_owned();
        for (line, part) in [
            ("add north --all-lists", "say how the client proves"),
            ("add north --jwks-uri https://n.org/jwks", "--all-lists"),
            ("add north --all-lists --list g1 --jwks-uri https://n.org/jwks", "cannot be used with"),
            ("add north --all-lists --jwks-uri http://n.org/jwks", "https://"),
            ("add north --list g_1 --jwks-uri https://n.org/jwks", "g_1"),
            ("add north --identifier 1316206220 --jwks-uri https://n.org/jwks", "system|value"),
            ("add north --all-lists --jwks-uri https://n.org/jwks --scope patient/*.read", "patient/*.read"),
            ("add north --all-lists --issuer https://i.org", "not among the issuers"),
            (&format!("add north --all-lists --new-key {key_name}"), "new file"),
            (&format!("add north --all-lists --new-key {key_name}.2 --file /nowhere/clients.json"), "/nowhere"),
        ] {
            let problem = format!("{:#}", run(line, &file).expect_err(line));
            assert!(problem.contains(part), "{line}: {problem}");
            assert!(!file.exists(), "{line}");
        }
        assert_eq!(fs::read_to_string(&key).ok().as_deref(), Some("another key"));
        assert!(!folder.path().join("north.pem.2").exists(), "a key that is registered nowhere is of no use");
    }

    #[test]
    fn a_client_is_registered_twice_only_when_that_is_meant() {
        let folder = tempfile::tempdir().expect("a folder for temporary files can be had");
        let file = folder.path().join("clients.json");
        let add = "add north --all-lists --jwks-uri https://n.org/jwks";
        run(add, &file).expect("it is new");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("it is ours");
        assert!(run(add, &file).expect_err("it is there").to_string().contains("--replace"));
        run(&format!("{add} --replace --scope system/Group.read"), &file).expect("it is meant");
        run("add north --all-lists --issuer https://i.org --issuer-jwks-uri https://i.org/jwks", &file)
            .expect("another");
        assert_eq!(mode(&file), 0o640, "whoever could read it still can");
        let register = read(&file).expect("it can be read").expect("it is there");
        let scopes: Vec<&str> = register.clients.iter().map(|client| client.scope.as_str()).collect();
        assert_eq!(scopes, ["system/Group.read", "system/*.read"]);
        let table = table(&register);
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(table.contains("https://n.org/jwks") && table.contains("tokens of https://i.org"), "{table}");
    }
}
