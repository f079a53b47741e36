//! The word lists: common names of many origins, places, streets. No list is taken from a register of people.

use std::fmt::{self, Display};

use super::draw::Draw;
use super::fhir::{Coding, code};

const RACES: &str = "urn:oid:2.16.840.1.113883.6.238";
const WHITE: Coding = code(RACES, "2106-3", "White");
const BLACK: Coding = code(RACES, "2054-5", "Black or African American");
const ASIAN: Coding = code(RACES, "2028-9", "Asian");
const INDIAN: Coding = code(RACES, "1002-5", "American Indian or Alaska Native");
const ISLANDER: Coding = code(RACES, "2076-8", "Native Hawaiian or Other Pacific Islander");

/// The two values of the US Core ethnicity extension.
pub const HISPANIC: Coding = code(RACES, "2135-2", "Hispanic or Latino");
/// See [`HISPANIC`].
pub const NOT_HISPANIC: Coding = code(RACES, "2186-5", "Not Hispanic or Latino");

/// Names that go together, with what else tends to go with them.
#[derive(Debug)]
pub struct Origin {
    surnames: &'static [&'static str],
    women: &'static [&'static str],
    men: &'static [&'static str],
    /// What the US Core race extension says.
    pub race: Coding,
    /// What the US Core ethnicity extension says.
    pub hispanic: bool,
    /// A language beside English.
    pub language: Option<(&'static str, &'static str)>,
    /// A name in its own script, family and given.
    pub script: Option<(&'static str, &'static str)>,
}

#[rustfmt::skip]
static ORIGINS: [(&Origin, u64); 10] = [
    (&Origin {
        surnames: &["Smith", "Johnson", "Williams", "Brown", "Miller", "Wilson", "Moore", "Taylor", "Anderson", "Clark", "Lewis",
            "Walker", "Hall", "Young", "Wright", "Hill", "Baker", "Carter", "Phillips", "Turner", "Parker", "Collins", "Edwards"],
        women: &["Mary", "Patricia", "Linda", "Barbara", "Susan", "Karen", "Nancy", "Emily", "Ashley", "Hannah", "Abigail", "Grace"],
        men: &["James", "John", "Robert", "Michael", "William", "David", "Richard", "Thomas", "Daniel", "Ethan", "Noah", "Henry"],
        race: WHITE, hispanic: false, language: None, script: None,
    }, 34),
    (&Origin {
        surnames: &["O'Brien", "O'Connor", "Murphy", "Kelly", "Sullivan", "Byrne", "D'Arcy", "O'Malley", "McCarthy", "Ní Dhomhnaill"],
        women: &["Siobhán", "Aoife", "Maeve", "Róisín", "Bridget", "Caitlín", "Nora", "Eileen"],
        men: &["Seán", "Patrick", "Conor", "Pádraig", "Liam", "Brendan", "Declan", "Tomás"],
        race: WHITE, hispanic: false, language: Some(("ga-IE", "Irish (Region=Ireland)")), script: None,
    }, 8),
    (&Origin {
        surnames: &["García", "Rodríguez", "Martínez", "Hernández", "López", "González", "Pérez", "Sánchez", "Ramírez", "Torres",
            "Núñez", "Muñoz", "Peña", "Ibáñez", "de la Cruz", "Vásquez", "Castillo", "Ortega"],
        women: &["María", "Guadalupe", "Sofía", "Lucía", "Inés", "Begoña", "Ana", "Carmen", "Rocío", "Valentina"],
        men: &["José", "Luis", "Andrés", "Ángel", "Joaquín", "Íñigo", "Raúl", "Héctor", "Mateo", "Diego"],
        race: WHITE, hispanic: true, language: Some(("es-US", "Spanish (Region=United States)")), script: None,
    }, 18),
    (&Origin {
        surnames: &["Washington", "Jackson", "Robinson", "Harris", "Coleman", "Jefferson", "Booker", "Banks", "Freeman", "Dixon",
            "Gaines", "Mosley"],
        women: &["Keisha", "Denise", "Imani", "Tanya", "Ebony", "Aaliyah", "Gloria", "La'Shawn", "Monique", "Renée"],
        men: &["Darnell", "Terrence", "Marcus", "Andre", "Isaiah", "Jamal", "De'Andre", "Curtis", "Malik", "Reginald"],
        race: BLACK, hispanic: false, language: None, script: None,
    }, 14),
    (&Origin {
        surnames: &["Müller", "Schröder", "Groß", "Lindqvist", "Sørensen", "Åkesson", "Jørgensen", "Weiß", "Bäcker", "Højgaard"],
        women: &["Ingrid", "Käthe", "Søs", "Jürgena", "Astrid", "Freja", "Heidi", "Märta"],
        men: &["Jürgen", "Bjørn", "Lars", "Øyvind", "Günther", "Åke", "Søren", "Matthias"],
        race: WHITE, hispanic: false, language: Some(("de-DE", "German (Region=Germany)")), script: None,
    }, 6),
    (&Origin {
        surnames: &["Nguyễn", "Trần", "Lê", "Phạm", "Đặng", "Vũ", "Đỗ", "Hoàng"],
        women: &["Hương", "Lan", "Ngọc", "Thảo", "Mai", "Phượng"],
        men: &["Đức", "Minh", "Hùng", "Quốc", "Tuấn", "Thắng"],
        race: ASIAN, hispanic: false, language: Some(("vi-VN", "Vietnamese (Region=Viet Nam)")), script: None,
    }, 4),
    (&Origin {
        surnames: &["Wang", "Li", "Zhang", "Chen", "Liu", "Lü", "Kim", "Park"],
        women: &["Xiu", "Mei", "Jing", "Yan", "Hui", "Min-ji"],
        men: &["Wei", "Jian", "Ming", "Tao", "Hao", "Jun-ho"],
        race: ASIAN, hispanic: false, language: Some(("zh-CN", "Chinese (Region=China)")), script: Some(("王", "小明")),
    }, 5),
    (&Origin {
        surnames: &["Patel", "Sharma", "Singh", "Reddy", "Iyer", "Khan", "Haddad", "al-Farouqi", "Rahman", "Mansour"],
        women: &["Priya", "Anjali", "Fatima", "Leila", "Deepa", "Noor", "Zainab", "Kavya"],
        men: &["Arjun", "Rahul", "Omar", "Yusuf", "Vikram", "Imran", "Karim", "Sanjay"],
        race: ASIAN, hispanic: false, language: Some(("hi-IN", "Hindi (Region=India)")), script: Some(("शर्मा", "प्रिया")),
    }, 5),
    (&Origin {
        surnames: &["Kowalski", "Wiśniewski", "Dvořák", "Novák", "Łukasik", "Horváth", "Ivanov", "Šimek", "Đorđević"],
        women: &["Małgorzata", "Zuzana", "Olga", "Agnieszka", "Łucja", "Jelena", "Žofie"],
        men: &["Paweł", "Jiří", "Łukasz", "István", "Nikolai", "Miloš", "Ondřej"],
        race: WHITE, hispanic: false, language: Some(("pl-PL", "Polish (Region=Poland)")), script: Some(("Иванов", "Николай")),
    }, 4),
    (&Origin {
        surnames: &["Kealoha", "Kānehailua", "ʻAkana", "Kahananui", "Māhoe", "Nāone"],
        women: &["Leilani", "Kalei", "Noelani", "Malia", "Pualani"],
        men: &["Kai", "Keoni", "Ikaika", "Kekoa", "Nāhele"],
        race: ISLANDER, hispanic: false, language: Some(("haw", "Hawaiian")), script: None,
    }, 2),
];

/// A second race that a few people name as well.
pub const OTHER_RACES: [Coding; 4] = [WHITE, BLACK, ASIAN, INDIAN];

impl Origin {
    /// One of the origins, as common as it is.
    pub fn any(draw: &mut Draw) -> &'static Self {
        draw.weighted(&ORIGINS)
    }

    /// A surname of this origin.
    pub fn surname(&self, draw: &mut Draw) -> &'static str {
        draw.pick(self.surnames)
    }

    /// A given name of this origin.
    pub fn given(&self, female: bool, draw: &mut Draw) -> &'static str {
        draw.pick(if female { self.women } else { self.men })
    }
}

/// A surname, perhaps of two parts: `Peña` or `Peña-Müller`.
#[derive(Clone, Copy, Debug)]
pub struct Surname {
    /// The first or only part.
    pub first: &'static str,
    /// What comes after the hyphen.
    pub second: Option<&'static str>,
}

impl Display for Surname {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.second {
            Some(second) => write!(out, "{}-{second}", self.first),
            None => out.write_str(self.first),
        }
    }
}

/// A town with its district, state, the first three digits of its postal codes, and telephone area.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Town.
    pub city: &'static str,
    /// County; FHIR says `district`.
    pub district: &'static str,
    /// Two letters.
    pub state: &'static str,
    /// The first three digits of a postal code.
    pub postal: &'static str,
    /// The telephone area code.
    pub area: &'static str,
    /// Degrees west and north, with the zeros at the end that a reader must keep.
    pub position: (&'static str, &'static str),
}

const fn place(
    city: &'static str,
    district: &'static str,
    state: &'static str,
    postal: &'static str,
    area: &'static str,
    position: (&'static str, &'static str),
) -> Place {
    Place { city, district, state, postal, area, position }
}

/// Where people live and are cared for.
pub const PLACES: [Place; 16] = [
    place("Tulsa", "Tulsa County", "OK", "741", "918", ("-95.9920", "36.1540")),
    place("Bixby", "Tulsa County", "OK", "740", "918", ("-95.8830", "35.9420")),
    place("Cañon City", "Fremont County", "CO", "812", "719", ("-105.2420", "38.4410")),
    place("Española", "Rio Arriba County", "NM", "875", "505", ("-106.0800", "35.9910")),
    place("Mayagüez", "Mayagüez Municipio", "PR", "006", "787", ("-67.1500", "18.2010")),
    place("San José", "Socorro County", "NM", "878", "505", ("-106.8900", "34.0600")),
    place("Coeur d'Alene", "Kootenai County", "ID", "838", "208", ("-116.7800", "47.6780")),
    place("O'Fallon", "St. Charles County", "MO", "633", "636", ("-90.7000", "38.8110")),
    place("Ann Arbor", "Washtenaw County", "MI", "481", "734", ("-83.7430", "42.2810")),
    place("Dubuque", "Dubuque County", "IA", "520", "563", ("-90.6650", "42.5010")),
    place("Lafayette", "Lafayette Parish", "LA", "705", "337", ("-92.0200", "30.2240")),
    place("Prince George's Corner", "Prince George's County", "MD", "207", "301", ("-76.8500", "38.8300")),
    place("Burlington", "Chittenden County", "VT", "054", "802", ("-73.2120", "44.4760")),
    place("Fresno", "Fresno County", "CA", "937", "559", ("-119.7900", "36.7380")),
    place("Hilo", "Hawaiʻi County", "HI", "967", "808", ("-155.0900", "19.7070")),
    place("Windham", "Cumberland County", "ME", "040", "207", ("-70.4380", "43.7990")),
];

/// Streets.
pub const STREETS: [&str; 20] = [
    "Church St",
    "Sunset Ave",
    "Maple Drive",
    "Old Mill Road",
    "Calle de la Peña",
    "Martin Luther King Jr Blvd",
    "Saint-Étienne Ct",
    "Washtenaw Avenue",
    "County Road 9",
    "King's Landing Way",
    "Elm St",
    "North 4th Street",
    "Río Grande Blvd",
    "Orchard Lane",
    "Prospect Place",
    "Harbor View Terrace",
    "Rue d'Orléans",
    "Juniper Loop",
    "East Commerce Parkway",
    "Kīlauea Ave",
];

/// How organisations are called before what they are.
pub const FIRM_NAMES: [&str; 24] = [
    "Alder Creek",
    "Bluestem",
    "Cedar & Sons",
    "Dove Valley",
    "Élan",
    "Five Rivers",
    "Granite Peak",
    "Harbor Light",
    "Ironwood",
    "Juniper",
    "Kestrel",
    "Lakeshore",
    "Meadowlark",
    "North Fork",
    "Old Mission",
    "Piñon",
    "Quarry Hill",
    "Red Cliff",
    "St. Brigid's",
    "Three Oaks",
    "Union Square",
    "Verdigris",
    "Willow Bend",
    "Yarrow",
];
