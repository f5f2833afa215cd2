//! What the name of a column says about the table that it refers to.

use crate::handlers::normalize_schema::lexicon::Words;
use crate::handlers::normalize_schema::names::{
    PERSON_NAMES, abbreviates, bases, ends_with, folded, is_key_word, names_a_key, same,
    same_words, stem, words,
};

/// How a column's name points to a table, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pointer {
    /// `customer_id` and `customers`.
    Table,
    /// `deptno` and a key `deptno`.
    Key,
    /// `billing_address_id` and `addresses`.
    Role,
    /// `parent_id` and its own table.
    Parent,
    /// `ticket_id` and `support_tickets`.
    End,
    /// `cust_no` and `customers`.
    Short,
    /// `created_by` and `users`.
    Person,
    /// `customer` and `customers`.
    Bare,
    /// Nothing but the values.
    Nothing,
}

impl Pointer {
    /// What it adds to a confidence.
    pub(super) const fn weight(self) -> f64 {
        match self {
            Self::Table => 0.50,
            Self::Key => 0.49,
            Self::Role | Self::Parent => 0.48,
            Self::End | Self::Short | Self::Person | Self::Bare => 0.40,
            Self::Nothing => 0.28,
        }
    }

    /// Whether small numbers have to take up most of the keys' range, because the name may mean another table that is not there.
    pub(super) const fn is_weak(self) -> bool {
        match self {
            Self::End | Self::Short | Self::Bare => true,
            Self::Table | Self::Key | Self::Role | Self::Parent | Self::Person | Self::Nothing => {
                false
            }
        }
    }

    /// Whether it names the table so clearly that a few values without a key are forgiven.
    pub(super) const fn is_clear(self) -> bool {
        match self {
            Self::Table | Self::Key => true,
            Self::Role
            | Self::Parent
            | Self::End
            | Self::Short
            | Self::Person
            | Self::Bare
            | Self::Nothing => false,
        }
    }
}

/// First words of tables that say where a table comes from, and not what is in it.
static PREFIXES: Words = Words::new(
    "tbl tb t tab tabelle tabla crm erp app dbo wp core dim fact stg mst trx tx sys web shop db",
);
/// Last words of tables that say that a table is one.
static SUFFIXES: Words =
    Words::new("table tbl tab master mst stamm stammdaten tabelle data list liste info record");
/// Names of keys that are keys of anything.
static GENERIC: Words = Words::new(
    "id code key no nr num number name type typ tipo status title slug email mail uuid guid version position pos seq sequence line
    sort ref reference value token hash label date year month nummer numero codigo kennung bezeichnung nombre username login url
    path pk oid uid lang language locale rank level day fecha datum",
);
/// Numbers of these names count or measure; they refer to nothing.
static MEASURES: Words = Words::new(
    "position level rank version page number line item count amount price rating year month day week hour score size age point
    stage step grade quantity total weight duration sort sequence menge preis betrag anzahl jahr cantidad precio importe nivel
    orden unit capacity seat room floor minute discount tax fee cost balance salary stock order",
);
/// What people are to a row.
static PERSON_ROLES: Words = Words::new(
    "assignee author owner manager approver reviewer reporter requester sender recipient receiver supervisor creator editor
    moderator responsible handler operator inspector lead leader agent reports interviewer uploader actor buyer seller salesperson
    rep mentor coach head boss poster commenter voter follower organizer organiser host driver teacher instructor trainer advisor
    adviser consultant physician doctor practitioner nurse surgeon therapist recruiter broker realtor examiner evaluator applicant
    candidate witness signatory contact bearbeiter sachbearbeiter verantwortlicher autor verfasser ersteller besitzer leiter
    vorgesetzter vorgesetzte betreuer pruefer genehmiger ansprechpartner verkaeufer vertreter absender empfaenger melder arzt
    berater makler lehrer fahrer responsable creador propietario jefe gerente encargado supervisor vendedor remitente destinatario
    revisor tutor director medico asesor solicitante profesor agente",
);
/// People who only keep the record: users of the program, rather than its staff.
static RECORD_ROLES: Words = Words::new(
    "created updated modified changed deleted uploaded edited entered recorded inserted erstellt erfasst geaendert angelegt
    geloescht creado modificado actualizado eliminado creator creador ersteller uploader",
);
/// Participles without `-ed`.
static IRREGULAR_PARTICIPLES: Words = Words::new(
    "written taken sold made done seen given sent held led taught paid drawn begun built",
);
/// The tables of users.
static USERS: Words = Words::new("user benutzer usuario nutzer login account anwender");
/// The tables of those who work for the firm.
static STAFF: Words = Words::new(
    "employee staff person member agent mitarbeiter personal mitglied empleado persona miembro agente trabajador technician
    techniker tecnico worker personnel angestellter",
);
/// The tables of those whom the firm works for.
static CLIENTS: Words = Words::new(
    "customer client contact kunde cliente contacto kontakt ansprechpartner patient paciente guest gast tenant mieter inquilino
    applicant candidate candidato bewerber student subscriber lead buyer supplier vendor lieferant proveedor debitor kreditor",
);
/// What people a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum People {
    /// Those who use the program.
    Users,
    /// Those who work for the firm.
    Staff,
    /// Those whom the firm works for.
    Clients,
}

impl People {
    /// Gives what people a table holds, from its name and from columns that hold names of persons.
    pub(super) fn of(readings: &[Vec<String>], columns: &[ColumnName]) -> Option<Self> {
        let called = |list: &Words| {
            readings.iter().any(|table| {
                let last = table.last();
                last.is_some_and(|last| list.has(last))
            })
        };
        if called(&USERS) {
            return Some(Self::Users);
        }
        if called(&STAFF) {
            return Some(Self::Staff);
        }
        let named = columns
            .iter()
            .any(|column| PERSON_NAMES.iter().any(|name| column.words == *name));
        if called(&CLIENTS) {
            return Some(Self::Clients);
        }
        // Documents may repeat a person's name, but then they are called by something else first.
        let early = columns
            .iter()
            .take(5)
            .any(|column| PERSON_NAMES.iter().any(|name| column.words == *name));
        (named && early).then_some(Self::Staff)
    }

    /// How well it fits a role: 0 the best.
    pub(super) const fn rank(self, record: bool) -> u8 {
        match (self, record) {
            (Self::Users, true) | (Self::Staff, false) => 0,
            (Self::Staff, true) | (Self::Users, false) => 1,
            (Self::Clients, _) => 2,
        }
    }
}

/// What another row of the same table is to a row.
static PARENTS: Words = Words::new(
    "parent reply replied ancestor predecessor previous prev root original duplicate superseded supersedes replaces replaced merged
    quoted eltern uebergeordnet uebergeordnete uebergeordneter oberkategorie vorgaenger ober padre superior madre anterior
    respuesta antwort mother father parentid",
);
/// Roles that stand behind the word for the table, as in Spanish: `direccion_envio_id`, `id_categoria_padre`.
static ROLES_BEHIND: Words = Words::new(
    "padre madre superior anterior origen destino principal responsable titular envio facturacion entrega creacion modificacion
    alta baja asignado secundario fiscal nacimiento residencia actual raiz",
);
/// Words that many tables are about: `type_id` means a table of types only if that is of the same thing.
static KINDS: Words = Words::new(
    "type status state kind class group level priority role source reason method mode stage tipo estado grupo clase nivel motivo
    rol typ art gruppe stufe klasse zustand grund item line detail entry name record log event note history unit position",
);
/// Words beside a polymorphic reference that say which table it means.
static TYPE_WORDS: Words =
    Words::new("type table class model kind typ tipo tabelle tabla art entity");

/// The ways to read a table's name: as it is, and without what says where it comes from.
pub(super) fn table_readings(name: &str, shared_prefixes: &[String]) -> Vec<Vec<String>> {
    let full: Vec<String> = words(name).iter().map(|word| folded(word)).collect();
    let mut readings = vec![full.clone()];
    let mut add = |reading: &[String]| {
        if !reading.is_empty() && !readings.iter().any(|known| known == reading) {
            readings.push(reading.to_vec());
        }
    };
    let bare = match full.split_first() {
        Some((first, rest)) if is_prefix(first, shared_prefixes) && !rest.is_empty() => rest,
        _ => full.as_slice(),
    };
    add(bare);
    if let Some((last, rest)) = bare.split_last()
        && SUFFIXES.has_exactly(last)
    {
        add(rest);
    }
    // `tblCustomer` has a boundary; `tblcustomer` and `kundenstamm` have none.
    if let [single] = bare {
        for prefix in ["tbl", "tb_"] {
            if let Some(rest) = single.strip_prefix(prefix).filter(|rest| rest.len() >= 3) {
                add(&[rest.to_owned()]);
            }
        }
        for suffix in ["stamm", "stammdaten", "tabelle", "master", "liste"] {
            if let Some(rest) = single.strip_suffix(suffix).filter(|rest| rest.len() >= 3) {
                add(&[rest.to_owned()]);
            }
        }
    }
    readings
}

/// Whether tables begin with this word wherever they come from.
pub(super) fn is_prefix(word: &str, shared: &[String]) -> bool {
    PREFIXES.has_exactly(word) || shared.iter().any(|known| known == word)
}

/// First words that so many tables share that they say nothing.
pub(super) fn shared_prefixes<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut counts: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    let mut tables = 0;
    for name in names {
        tables += 1;
        let words = words(name);
        if let [first, _, ..] = words.as_slice() {
            *counts.entry(folded(first)).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .filter(|(_, count)| *count >= 3 && *count * 2 >= tables)
        .map(|(word, _)| word)
        .collect()
}

/// A column's name, read once.
#[derive(Debug)]
pub(super) struct ColumnName {
    pub(super) words: Vec<String>,
    /// Without what says that it is a key.
    pub(super) stem: Vec<String>,
    pub(super) is_key: bool,
}

impl ColumnName {
    pub(super) fn new(name: &str) -> Self {
        let fold = |words: Vec<String>| words.iter().map(|word| folded(word)).collect();
        Self {
            words: fold(words(name)),
            stem: fold(stem(name)),
            is_key: names_a_key(name),
        }
    }

    /// Whether its name is one that keys of any table have.
    pub(super) fn is_generic(&self) -> bool {
        self.words
            .iter()
            .all(|word| GENERIC.has_exactly(word) || is_key_word(word))
    }

    fn is_measure(&self) -> bool {
        let last = self.words.last();
        !self.is_key
            && last.is_some_and(|word| bases(word).iter().any(|base| MEASURES.has_exactly(base)))
    }

    /// Whether it says what a person is to the row: `assignee_id`, `created_by`, `erstellt_von`, `creado_por`.
    pub(super) fn is_person_role(&self) -> bool {
        let Some((last, rest)) = self.stem.split_last() else {
            return false;
        };
        let first = rest.first().map_or("", String::as_str);
        match last.as_str() {
            "by" => first.ends_with("ed") || IRREGULAR_PARTICIPLES.has_exactly(first),
            "por" => !rest.is_empty(),
            // `gueltig_von` is a day.
            "von" | "durch" => first.len() >= 6 && (first.ends_with('t') || first.ends_with("en")),
            "to" => matches!(first, "assigned" | "reports" | "addressed" | "delegated"),
            "a" => matches!(first, "asignado" | "reporta" | "dirigido"),
            // `created_by_id` and `assigned_to_user`: the key's word is gone, the person's is not.
            other => PERSON_ROLES.has_exactly(other),
        }
    }

    /// Whether the person only kept the record.
    pub(super) fn is_record_role(&self) -> bool {
        let first = self.stem.first();
        first.is_some_and(|first| RECORD_ROLES.has_exactly(first))
    }

    /// Whether it says that it is a row of the same table.
    pub(super) fn is_parent_role(&self) -> bool {
        let first = self.stem.first();
        let at = |word: &String| PARENTS.has_exactly(word);
        match self.stem.as_slice() {
            [only] => at(only),
            [_, last] if matches!(last.as_str(), "to" | "of" | "a" | "de" | "by" | "into") => {
                first.is_some_and(at)
            }
            [a, _, last] if matches!(last.as_str(), "to" | "a") => a == "in",
            _ => false,
        }
    }

    /// The names of the column that would say which table this one means.
    pub(super) fn is_type_of(&self, other: &ColumnName) -> bool {
        self.words.split_last().is_some_and(|(last, rest)| {
            TYPE_WORDS.has_exactly(last) && rest == other.stem.as_slice()
        })
    }

    /// How the name of a column of a table that reads like `own` points to one that reads like `readings` and has a key of this name.
    pub(super) fn points_to(
        &self,
        own: &[Vec<String>],
        readings: &[Vec<String>],
        key: &ColumnName,
    ) -> Option<Pointer> {
        if self.is_measure() {
            return None;
        }
        let any = |test: &dyn Fn(&[String]) -> bool| readings.iter().any(|reading| test(reading));
        let keyed = self.is_key || names_table_and_key(self, readings, key);
        if any(&|table| same_words(&self.stem, table)) || names_table_and_key(self, readings, key) {
            return Some(if keyed { Pointer::Table } else { Pointer::Bare });
        }
        if !key.is_generic() && (self.words == key.words || ends_with(&self.words, &key.words)) {
            return Some(if self.words == key.words {
                Pointer::Key
            } else {
                Pointer::Role
            });
        }
        if any(&|table| self.names_role_behind(table)) {
            return Some(Pointer::Role);
        }
        if !keyed {
            return None;
        }
        if any(&|table| ends_with(&self.stem, table)) {
            return Some(Pointer::Role);
        }
        let kind = matches!(self.stem.as_slice(), [only] if bases(only).iter().any(|base| KINDS.has_exactly(base)));
        let end = |table: &[String]| {
            let ends = ends_with(table, &self.stem) || ends_compound(table, &self.stem);
            (ends && (!kind || is_about(table, own))) || is_of_own(table, &self.stem, own)
        };
        if any(&end) {
            return Some(Pointer::End);
        }
        any(&|table| is_short_for(&self.stem, table)).then_some(Pointer::Short)
    }

    /// `id_categoria_padre` and `categorias`: first the table, then the role. Behind a key's word, any role will do.
    fn names_role_behind(&self, table: &[String]) -> bool {
        if self.stem.len() <= table.len() || !same_words(&self.stem[..table.len()], table) {
            return false;
        }
        let first_is_key = self.words.first().is_some_and(|first| is_key_word(first));
        first_is_key
            || self.stem[table.len()..]
                .iter()
                .all(|word| ROLES_BEHIND.has_exactly(word))
    }
}

/// Whether a table's name has a word of another one's: `property_types` and `properties`.
fn is_about(table: &[String], own: &[Vec<String>]) -> bool {
    own.iter()
        .flatten()
        .any(|word| table.iter().any(|other| same(word, other)))
}

/// `tipo_id` in `inmuebles` and `tipos_inmueble`: the stem, and then the column's own table.
fn is_of_own(table: &[String], stem: &[String], own: &[Vec<String>]) -> bool {
    table.len() > stem.len()
        && same_words(&table[..stem.len()], stem)
        && own.iter().any(|own| {
            let rest: Vec<String> = table[stem.len()..]
                .iter()
                .filter(|word| !matches!(word.as_str(), "de" | "del"))
                .cloned()
                .collect();
            same_words(&rest, own)
        })
}

/// `country_code` for `countries` with a key `code`.
/// `isbn_libro` for `libros` with a key `isbn`.
fn names_table_and_key(column: &ColumnName, readings: &[Vec<String>], key: &ColumnName) -> bool {
    let is_table = |words: &[String]| readings.iter().any(|table| same_words(words, table));
    column
        .words
        .strip_suffix(key.words.as_slice())
        .is_some_and(is_table)
        || column
            .words
            .strip_prefix(key.words.as_slice())
            .is_some_and(is_table)
}

/// `kategorie_id` and `Produktkategorien`: the table's name is one word that ends with the stem.
fn ends_compound(table: &[String], stem: &[String]) -> bool {
    let ([.., table], [stem]) = (table, stem) else {
        return false;
    };
    stem.len() >= 5
        && bases(table).iter().any(|table| {
            bases(stem).iter().any(|stem| {
                stem.len() >= 5 && table.len() > stem.len() + 2 && table.ends_with(stem.as_str())
            })
        })
}

/// `cust` for `customers`, `po` for `purchase_orders`, `customer` for a table `cust`.
fn is_short_for(stem: &[String], table: &[String]) -> bool {
    let similar = |a: &String, b: &String| {
        same(a, b)
            || bases(b).iter().any(|b| abbreviates(a, b))
            || bases(a).iter().any(|a| abbreviates(b, a))
    };
    if stem.len() == table.len() {
        return stem.iter().zip(table).all(|(a, b)| similar(a, b));
    }
    let [short] = stem else { return false };
    let initials: String = table
        .iter()
        .filter_map(|word| word.chars().next())
        .collect();
    table.len() >= 2 && *short == initials
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(column: &str, table: &str, key: &str) -> Option<Pointer> {
        let own = [vec!["articulo".to_owned()]];
        ColumnName::new(column).points_to(&own, &table_readings(table, &[]), &ColumnName::new(key))
    }

    #[test]
    fn names_point_to_tables() {
        for (column, table, key, expected) in [
            ("customer_id", "customers", "id", Pointer::Table),
            ("userId", "users", "id", Pointer::Table),
            ("CustomerID", "tblCustomers", "ID", Pointer::Table),
            (
                "customer_id",
                "crm_customers",
                "customer_id",
                Pointer::Table,
            ),
            ("kunden_id", "Kunden", "KundenNr", Pointer::Table),
            ("KundenNr", "kunde", "nr", Pointer::Table),
            ("artikelnummer", "Artikelstamm", "id", Pointer::Table),
            ("id_cliente", "clientes", "id_cliente", Pointer::Table),
            ("id_habitacion", "habitaciones", "id", Pointer::Table),
            ("country_code", "countries", "code", Pointer::Table),
            ("country_iso", "countries", "iso", Pointer::Table),
            ("deptno", "dept_table_x", "deptno", Pointer::Key),
            ("matnr", "mara", "matnr", Pointer::Key),
            ("billing_address_id", "addresses", "id", Pointer::Role),
            ("id_categoria_padre", "categorias", "id", Pointer::Role),
            ("direccion_envio_id", "direcciones", "id", Pointer::Role),
            ("isbn_libro", "libros", "isbn", Pointer::Table),
            ("tipo_id", "tipos_articulo", "id", Pointer::End),
            ("ticket_id", "support_tickets", "id", Pointer::End),
            ("kategorie_id", "Produktkategorien", "id", Pointer::End),
            ("cust_no", "customers", "no", Pointer::Short),
            ("dept_id", "departments", "id", Pointer::Short),
            ("po_id", "purchase_orders", "id", Pointer::Short),
            ("customer", "customers", "id", Pointer::Bare),
        ] {
            assert_eq!(
                pointer(column, table, key),
                Some(expected),
                "{column} {table}"
            );
        }
        for (column, table, key) in [
            ("type_id", "lead_types", "id"),
            ("product_group_id", "products", "id"),
            ("order_id", "order_lines", "id"),
            ("id", "customers", "id"),
            ("code", "countries", "code"),
            ("position", "positions", "id"),
            ("line_no", "orders", "id"),
            ("name", "names_of_things", "id"),
            ("total", "totals", "id"),
            ("status", "orders", "status"),
        ] {
            assert_eq!(pointer(column, table, key), None, "{column} {table}");
        }
    }

    #[test]
    fn roles() {
        for column in [
            "created_by",
            "assignee_id",
            "author_id",
            "creado_por",
            "erstellt_von",
            "account_manager_id",
            "owner",
        ] {
            assert!(ColumnName::new(column).is_person_role(), "{column}");
        }
        for column in [
            "created_at",
            "closed",
            "customer_id",
            "updated_count",
            "gueltig_von",
            "sort_by",
        ] {
            assert!(!ColumnName::new(column).is_person_role(), "{column}");
        }
        for column in [
            "parent_id",
            "reply_to_id",
            "id_padre",
            "duplicate_of",
            "in_reply_to",
        ] {
            assert!(ColumnName::new(column).is_parent_role(), "{column}");
        }
        assert_eq!(
            People::of(&table_readings("app_users", &[]), &[]),
            Some(People::Users)
        );
        let columns = ["nr", "vorname", "nachname"].map(ColumnName::new);
        assert_eq!(
            People::of(&table_readings("monteur", &[]), &columns),
            Some(People::Staff)
        );
        assert!(ColumnName::new("owner_type").is_type_of(&ColumnName::new("owner_id")));
    }
}
