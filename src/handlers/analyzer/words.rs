//! What names say in English, German and Spanish. Words are written without accents: `größe` is `groesse`, `dirección` is `direccion`.

use crate::handlers::normalize_schema::lexicon::Words;
use crate::handlers::normalize_schema::names::{folded, words};

/// A name, read once.
#[derive(Debug, Clone)]
pub(super) struct Name {
    /// Its words without accents and without numbers at their ends: `NAME1` is `name`.
    words: Vec<String>,
    /// All of them in one.
    joined: String,
}

impl Name {
    pub(super) fn new(name: &str) -> Self {
        let plain = |word: &String| {
            let word = folded(word);
            let bare = word.trim_end_matches(|c: char| c.is_ascii_digit());
            if bare.len() < 2 {
                word
            } else {
                bare.to_owned()
            }
        };
        let words: Vec<String> = words(name).iter().map(plain).collect();
        Self {
            joined: words.concat(),
            words,
        }
    }

    /// Whether one of its words is in a list, in the singular or in the plural.
    pub(super) fn has(&self, list: &Words) -> bool {
        self.words.iter().any(|word| list.has(word))
    }

    /// Whether its last word is in a list: what an English or German name is about.
    pub(super) fn ends_in(&self, list: &Words) -> bool {
        self.words.last().is_some_and(|word| list.has(word))
    }

    /// Whether its first word is in a list: what a Spanish name is about.
    pub(super) fn begins_in(&self, list: &Words) -> bool {
        self.words.first().is_some_and(|word| list.has(word))
    }

    /// Whether one of these stands in it, across the boundaries of words.
    pub(super) fn contains(&self, parts: &Words) -> bool {
        parts.iter().any(|part| self.joined.contains(part))
    }

    /// Whether its last word ends with one of these, as German compounds do.
    pub(super) fn ends_with(&self, ends: &Words) -> bool {
        let last = self.words.last();
        last.is_some_and(|last| {
            ends.iter()
                .any(|end| last.len() > end.len() && last.ends_with(end))
        })
    }

    pub(super) fn words(&self) -> &[String] {
        &self.words
    }
}

/// Secrets, whatever the values look like.
pub(super) static SECRETS: Words = Words::new(
    "password passwd pwd passphrase secret salt credential otp totp hash digest checksum csrf pin passwort kennwort pw contrasena
    contrasenia secreto geheim nonce signature_key fingerprint sha md",
);
/// Secrets as parts of a name.
pub(super) static SECRET_PARTS: Words = Words::new(
    "password passwort kennwort passwd contrasen passcode apikey accesskey privatekey secretkey accesstoken refreshtoken authtoken
    sessiontoken pushtoken resettoken verificationtoken apitoken pwhash securityanswer securityquestion pincode recoverycode
    clavesecreta claveacceso",
);
/// What identifies a person or an account, whatever the values look like.
pub(super) static IDENTITIES: Words = Words::new(
    "ssn iban bic swift cvv cvc passport birthday birthdate birth dob vat nif dni nie cif curp rfc nss cuit cuil rut pasaporte
    reisepass personalausweis ustid ust fingerabdruck biometric nino mrn geburtstag nacimiento taxid",
);
/// The same as parts of a name.
pub(super) static IDENTITY_PARTS: Words = Words::new(
    "cardnumber cardno cardnum creditcard debitcard cardholder kreditkart kartennummer tarjeta accountnumber accountno
    accountholder bankaccount routingnumber sortcode kontonummer kontonr kontoinhaber bankverbindung cuentabancaria numerocuenta
    titularcuenta numcuenta socialsecurity sozialversicherung seguridadsocial nationalid nationalinsurance nationalidentity
    identitycard idcard idnumber taxnumber taxidentification taxid steuernummer steuerid steuernr umsatzsteuer vatnumber vatno
    vatid passportn passport pasaporte ausweisn ausweisnummer reisepass driverlicen driverslicen drivinglicen fuehrerschein
    licenciaconducir carnetconducir geburtsdatum geburtstag geburtsort geburtsname dateofbirth birthdate birthday birthplace
    placeofbirth fechanac nacimiento ipaddress ipadresse direccionip ipaddr versichertennummer versichertennr versicherungsnummer
    versicherungsnr insurancenumber insuranceno insuranceid policynumber numeroseguro numeropoliza tarjetasanitaria healthcard
    medicalrecordnumber numerohistoria krankenkassennummer documentoidentidad numerodocumento maidenname cedula licenseplate
    kennzeichenkfz deviceid macaddress licensenumber licenseno licencenumber numerolicencia emergencycontact notfallkontakt
    contactoemergencia religion konfession ethnicity etnia sexualorientation tradeunion behinderungsgrad discapacidad disability",
);
/// What reaches a person, unless the values are sentences or titles.
pub(super) static CONTACTS: Words = Words::new(
    "email mail phone telephone mobile cell fax tel telf ip telefon handy mobil telefax telefono movil celular correo whatsapp
    skype token pager",
);
/// The same as parts of a name.
pub(super) static CONTACT_PARTS: Words =
    Words::new("email telefon telephone phone mobiln handyn mobiltel rufnummer correoe");
/// Numbers of accounts and cards.
pub(super) static ACCOUNTS: Words = Words::new("iban bic swift cvv cvc");
/// What a tax or a fee is measured in: not the number of somebody who pays it.
pub(super) static RATES: Words = Words::new("rate amount percent satz betrag importe");
/// Contact data of programs.
pub(super) static MACHINES: Words = Words::new("token ip");
/// What a person earns; in a table of people also the second list.
pub(super) static EARNINGS: Words =
    Words::new("salary wage payroll gehalt lohn verguetung salario sueldo nomina grundgehalt");
/// What a person has.
pub(super) static INCOMES: Words = Words::new("compensation bonus income einkommen ingreso pay");
/// Words of a range, which is offered to anybody.
pub(super) static RANGES: Words =
    Words::new("min max from to range band grade von bis desde hasta minimo maximo");
/// Where somebody lives: not for the text.
pub(super) static ADDRESSES: Words = Words::new(
    "address street zip postcode postal zipcode latitude longitude lat lon lng adresse anschrift strasse str plz postleitzahl
    hausnummer hausnr direccion calle domicilio cp codigopostal piso portal breitengrad laengengrad latitud longitud",
);
/// The same as parts of a name.
pub(super) static ADDRESS_PARTS: Words =
    Words::new("postleitzahl codigopostal postalcode postcode zipcode streetaddress strasse");
/// Names that promise sentences.
pub(super) static PROSE: Words = Words::new(
    "description desc comment body note content text message review summary bio biography abstract detail question answer feedback
    remark instruction story transcript resolution explanation synopsis plot article overview observation diagnosis about reason
    finding assessment recommendation justification complaint narrative statement advice objective responsibility requirement
    highlight testimonial memo beschreibung bemerkung anmerkung kommentar notiz inhalt nachricht zusammenfassung bericht hinweis
    erlaeuterung begruendung befund diagnose anamnese frage antwort lebenslauf taetigkeit stellungnahme bewertung empfehlung
    beurteilung ursache massnahme loesung langtext descripcion comentario nota observacion texto contenido mensaje resumen cuerpo
    detalle pregunta respuesta opinion motivo informe diagnostico historia biografia instruccion valoracion explicacion resena
    anotacion causa solucion recomendacion requisito funcion",
);
/// Ends of German compounds that promise sentences.
pub(super) static PROSE_ENDS: Words =
    Words::new("beschreibung text bemerkung kommentar notiz bericht hinweis begruendung");
/// Names of what a row is called.
pub(super) static LABELS: Words = Words::new(
    "name title subject label headline caption topic company composer author artist brand firstname lastname fullname surname
    displayname heading bezeichnung titel betreff ueberschrift firma vorname nachname kurztext nombre titulo asunto denominacion
    etiqueta apellido empresa encabezado designation",
);
/// Ends of compounds that are what a row is called.
pub(super) static LABEL_ENDS: Words = Words::new("name bezeichnung titel");
/// Names of what is for programs.
pub(super) static TECHNICAL: Words = Words::new(
    "id uuid guid code path file filename url uri link slug version locale language lang timezone currency mime key ref sku ean
    isbn username login user created updated country city state region unit domain website icon avatar kennung pfad datei
    dateiname sprache waehrung einheit webseite seriennummer ruta archivo fichero idioma moneda unidad usuario serial class nr",
);
/// Names of what has few values.
pub(super) static CATEGORIES: Words = Words::new(
    "status type kind category state priority level role channel gender sex method stage severity tier segment country city region
    currency language lang source art typ zustand kategorie prioritaet stufe land ort stadt waehrung geschlecht dringlichkeit
    anrede estado tipo categoria prioridad nivel pais ciudad moneda genero sexo provincia municipio canal rol turno bundesland
    outcome",
);
/// Categories that say what a thing is about, so that they belong to its text too.
pub(super) static TOPICS: Words = Words::new(
    "category genre topic brand department collection series material industry cuisine style species kategorie thema marke
    abteilung fachgebiet branche categoria tema marca departamento especialidad specialty speciality subject",
);
/// Names of what a program wrote: its words are no one's, even where they are sentences.
pub(super) static MACHINE: Words = Words::new(
    "payload params parameters attempt retry retries stacktrace stack trace exception error logger useragent sql cookie serialized
    fehlermeldung fehler excepcion traza parametros hostname worker",
);
/// The same, unless the values are sentences: a request may be a person's.
pub(super) static MACHINE_CODES: Words =
    Words::new("query script request headers xml raw dump config skript lastupdate");
/// The same as parts of a name.
pub(super) static MACHINE_PARTS: Words = Words::new(
    "useragent lasterror errormessage stacktrace oldvalue newvalue valorantiguo valornuevo valoranterior alterwert neuerwert
    olddata newdata rawdata tablename recordid datensatz nombretabla requestid transactionid sessionid httpstatus durationms
    lockedat lockedby runat retrycount nextrun failedat installedon executedat ipaddress ipadresse direccionip expiresat
    lastactivity",
);
/// Tables of programs, whatever they hold.
pub(super) static TECHNICAL_TABLES: Words = Words::new(
    "migration migracion flyway alembic liquibase databasechangelog changelog session sesion sitzung cache lock outbox audit
    auditoria auditlog cron oauth token webhook heartbeat log protokoll aenderungsprotokoll bitacora registro queue warteschlange
    cola job event ereignis evento history historie historial attempt intento anmeldeversuch backup temp tmp staging version
    versionen setting einstellung configuracion config preference sequence scheduler permission berechtigung permiso sync etl
    import export task trace metric stat index search notification benachrichtigung notificacion acceso zugriff access",
);
/// Ends of German compounds that name such tables.
pub(super) static TECHNICAL_TABLE_ENDS: Words =
    Words::new("protokoll sitzung migration warteschlange historie version log");
/// Last words of tables whose rows belong to a row of another table.
pub(super) static DETAILS: Words = Words::new(
    "line item detail note comment message reply entry tag attribute translation remark option feature alias keyword position step
    section paragraph answer response amenity highlight update zeile kommentar notiz nachricht antwort uebersetzung bemerkung
    eintrag merkmal schlagwort linea detalle comentario nota mensaje respuesta traduccion etiqueta renglon partida atributo text
    texto observacion caracteristica opcion seguimiento",
);
/// Ends of German compounds that name such tables.
pub(super) static DETAIL_ENDS: Words =
    Words::new("position positionen zeile zeilen kommentar kommentare notiz notizen text texte");
/// Tables of people: their names are nobody's category and nothing to search for alone.
pub(super) static PEOPLE: Words = Words::new(
    "customer client user person people employee contact member patient guest staff student subscriber applicant candidate tenant
    landlord doctor physician nurse practitioner teacher technician driver agent owner buyer seller supplier vendor kunde benutzer
    mitarbeiter ansprechpartner kontakt mitglied lieferant techniker arzt bewerber mieter vermieter eigentuemer gast nutzer
    cliente usuario empleado contacto persona miembro paciente medico proveedor inquilino propietario candidato alumno estudiante
    huesped enfermero dependent angehoeriger familiar",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_three_languages() {
        assert!(Name::new("NAME1").has(&LABELS));
        assert!(Name::new("kunden_bemerkungen").has(&PROSE));
        assert!(Name::new("observaciones").has(&PROSE));
        assert!(Name::new("Beschreibungstext").ends_with(&PROSE_ENDS));
        assert!(Name::new("CreditCard_Number").contains(&IDENTITY_PARTS));
        assert!(Name::new("GeburtsDatum").contains(&IDENTITY_PARTS));
        assert!(Name::new("passwordDigest").has(&SECRETS));
        assert!(Name::new("schema_migrations").ends_in(&TECHNICAL_TABLES));
        assert!(
            Name::new("secretary_name").has(&LABELS) && !Name::new("secretary_name").has(&SECRETS)
        );
    }
}
