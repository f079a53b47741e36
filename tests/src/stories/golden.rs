//! The examples of the ATR guide, where they are at hand: `../shared/atr-examples` beside the checkout.

use std::collections::BTreeMap;
use std::path::Path;

use shared::source::files::{Found, read};

use crate::harness::system::with;

#[tokio::test]
async fn the_examples_of_the_guide_reach_fourteen_resources() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/atr-examples"));
    if !folder.is_dir() {
        println!("skipped: {} is not there; the project builds and passes without it", folder.display());
        return;
    }
    let lines: Vec<String> = read(&[folder.to_owned()])
        .expect("the folder can be read")
        .map(|found| match found.expect("the folder can be read") {
            Found::Resource(resource) => String::from_utf8(resource.body.to_vec()).expect("a resource is UTF-8"),
            Found::Bad(bad) => panic!("{bad}"),
        })
        .collect();
    with(&lines, |system| async move {
        let exported = system.export("/Group/fullexample/$davinci-data-export").await;
        let counts = [
            ("Coverage", 3),
            ("Group", 1),
            ("Location", 1),
            ("Organization", 2),
            ("Patient", 3),
            ("Practitioner", 1),
            ("PractitionerRole", 1),
            ("RelatedPerson", 2),
        ];
        assert_eq!(exported.counts, BTreeMap::from(counts.map(|(name, count)| (name.to_owned(), count))));
        assert_eq!(exported.reached, system.expected("fullexample").await);
        assert!(exported.reached.missing.is_empty());
    })
    .await;
}
