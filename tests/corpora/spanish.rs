//! Un museo: a museum with Spanish names and texts, tables in the plural.

use super::generate::Maker;
use super::schema::{Database, Value, row, rows};

/// Makes the museum.
pub fn build() -> Database {
    let mut db = Database::new(97, &[include_str!("words/spanish.txt")]);
    lookups(&mut db);
    works(&mut db);
    exhibitions(&mut db);
    restorations(&mut db);
    visitors(&mut db);
    tickets(&mut db);
    technical(&mut db);
    tasks(&mut db);
    db.view(
        "v_obras_expuestas",
        "SELECT o.\"id_obra\" AS id_obra, o.\"titulo\" AS titulo, s.\"nombre\" AS sala FROM \"obras\" o \
         JOIN \"salas\" s ON s.\"id_sala\" = o.\"id_sala\"",
    );
    db
}

fn lookups(db: &mut Database) {
    db.rows(
        "paises",
        "codigo_pais char(2) pk
         nombre varchar(60)",
        rows![
            ["ES", "España"],
            ["IT", "Italia"],
            ["FR", "Francia"],
            ["MX", "México"],
            ["AR", "Argentina"],
            ["PT", "Portugal"],
            ["NL", "Países Bajos"],
            ["PE", "Perú"]
        ],
    );
    db.rows(
        "tecnicas",
        "id_tecnica int pk
         nombre varchar(60)",
        rows![
            [1, "Óleo sobre lienzo"],
            [2, "Acuarela"],
            [3, "Grabado al aguafuerte"],
            [4, "Bronce fundido"],
            [5, "Talla en madera"],
            [6, "Temple sobre tabla"],
            [7, "Fotografía"]
        ],
    );
    db.table(
        "salas",
        "id_sala int pk
         nombre varchar(60)
         planta int
         aforo int",
        24,
        |g, n| {
            row![
                n,
                format!("{} {n}", g.say("salanombre")),
                g.between(0, 3),
                g.between(20, 200)
            ]
        },
    );
    db.table(
        "etiquetas",
        "id_etiqueta int pk
         etiqueta varchar(40)",
        20,
        |g, n| row![n, format!("{} {n}", g.say("etiqueta"))],
    );
}

fn works(db: &mut Database) {
    db.table(
        "artistas",
        "id_artista int pk
         nombre varchar(60)
         apellidos varchar(80)
         codigo_pais char(2) -> paises.codigo_pais
         id_maestro int null -> artistas.id_artista
         biografia text null
         anio_nacimiento int",
        150,
        |g, n| {
            let apellidos = format!("{} {}", g.say("apellido"), g.say("apellido"));
            row![
                n,
                g.say("nombre"),
                apellidos,
                g.key("paises.codigo_pais"),
                g.earlier(n, 30),
                g.some(85, |g| g.prose("bio", 2, 4)),
                g.between(1580, 1985)
            ]
        },
    );
    db.table(
        "obras",
        "id_obra int pk
         num_inventario varchar(14) unique
         titulo varchar(160)
         descripcion text null
         id_artista int -> artistas.id_artista
         id_tecnica int noindex -> tecnicas.id_tecnica
         id_sala int null -> salas.id_sala
         anio int
         alto_cm decimal(8,1)
         ancho_cm decimal(8,1)
         imagen_url varchar(200) null
         observaciones text null",
        600,
        |g, n| {
            let alto = Value::Number(format!("{}.5", g.between(10, 400)));
            let ancho = Value::Number(format!("{}.0", g.between(10, 400)));
            row![
                n,
                format!("INV-{:06}", n * 17),
                g.say("obratitulo"),
                g.some(90, |g| g.prose("obradesc", 2, 4)),
                g.key("artistas.id_artista"),
                g.key("tecnicas.id_tecnica"),
                g.some(60, |g| g.key("salas.id_sala")),
                g.between(1600, 2020),
                alto,
                ancho,
                g.some(80, |_| format!("https://img.example.org/obras/{n}.jpg")),
                None::<String>
            ]
        },
    );
    let pairs = db
        .maker
        .pairs("obras.id_obra", "etiquetas.id_etiqueta", 900);
    db.rows(
        "obras_etiquetas",
        "id_obra int -> obras.id_obra
         id_etiqueta int -> etiquetas.id_etiqueta
         primary key (id_obra, id_etiqueta)",
        pairs
            .into_iter()
            .map(|(obra, etiqueta)| vec![obra, etiqueta])
            .collect(),
    );
}

fn exhibitions(db: &mut Database) {
    db.table(
        "empleados",
        "num_empleado int pk
         nombre varchar(60)
         apellidos varchar(80)
         dni char(9)
         correo varchar(160)
         telefono varchar(30) null
         cuenta_bancaria varchar(34)
         num_jefe int null -> empleados.num_empleado",
        110,
        |g, n| {
            let (nombre, apellido) = (g.say("nombre"), g.say("apellido"));
            let correo = g.email(&format!("{nombre} {apellido}"), n);
            let dni = format!("{}{}", g.digits(8), g.letters("ABCDEFGHJKLMNPQRSTVWXYZ", 1));
            row![
                n,
                nombre,
                format!("{apellido} {}", g.say("apellido")),
                dni,
                correo,
                g.some(80, |g| g.phone("+34")),
                g.iban("ES", 20),
                g.earlier(n, 85)
            ]
        },
    );
    db.table(
        "exposiciones",
        "id_exposicion int pk
         titulo varchar(160)
         texto_curatorial text
         comisario int -> empleados.num_empleado
         fecha_inicio date
         fecha_fin date null",
        120,
        |g, n| {
            row![
                n,
                g.say("expotitulo"),
                g.html("expotexto", 2),
                g.key("empleados.num_empleado"),
                g.date(2018, 2025),
                g.some(80, |g| g.date(2019, 2026))
            ]
        },
    );
    let pairs = db
        .maker
        .pairs("exposiciones.id_exposicion", "obras.id_obra", 800);
    let rows = pairs
        .into_iter()
        .map(|(exposicion, obra)| row![exposicion, obra, db.maker.between(1, 60)])
        .collect();
    db.rows(
        "obras_exposiciones",
        "id_exposicion int -> exposiciones.id_exposicion
         id_obra int -> obras.id_obra
         orden int
         primary key (id_exposicion, id_obra)",
        rows,
    );
}

fn restorations(db: &mut Database) {
    db.table(
        "restauraciones",
        "id_restauracion int pk
         id_obra int -> obras.id_obra
         responsable int -> empleados.num_empleado
         revisor int null -> empleados.num_empleado
         informe text
         coste decimal(10,2)
         fecha date",
        400,
        |g, n| {
            row![
                n,
                g.key("obras.id_obra"),
                g.key("empleados.num_empleado"),
                g.some(60, |g| g.key("empleados.num_empleado")),
                g.prose("informe", 2, 5),
                g.amount(100, 20_000),
                g.date(2005, 2025)
            ]
        },
    );
    db.table(
        "prestamos",
        "id_prestamo int pk
         id_obra int -> obras.id_obra
         codigo_pais char(2) noindex -> paises.codigo_pais
         poliza varchar(20)
         descripcion varchar(24)
         fecha_salida date
         fecha_regreso date null",
        200,
        |g, n| {
            let codigos = format!(
                "{}-{}-{}",
                g.letters("PRT", 2),
                g.digits(3),
                g.letters("AB", 1)
            );
            row![
                n,
                g.key("obras.id_obra"),
                g.key("paises.codigo_pais"),
                format!("POL{}", g.digits(9)),
                codigos,
                g.date(2015, 2024),
                g.some(80, |g| g.date(2016, 2025))
            ]
        },
    );
}

fn visitors(db: &mut Database) {
    db.table(
        "socios",
        "num_socio int pk
         nombre varchar(60)
         apellidos varchar(80)
         dni char(9)
         correo_electronico varchar(160)
         telefono_movil varchar(30) null
         direccion varchar(160)
         codigo_postal char(5)
         fecha_nacimiento date null
         contrasena_hash varchar(80)",
        400,
        |g, n| {
            let (nombre, apellido) = (g.say("nombre"), g.say("apellido"));
            let correo = g.email(&format!("{nombre} {apellido}"), n);
            let dni = format!("{}{}", g.digits(8), g.letters("ABCDEFGHJKLMNPQRSTVWXYZ", 1));
            let direccion = format!("{}, {}", g.say("calle"), g.between(1, 120));
            row![
                20_000 + n,
                nombre,
                format!("{apellido} {}", g.say("apellido")),
                dni,
                correo,
                g.some(70, |g| g.phone("+34")),
                direccion,
                g.digits(5),
                g.some(60, |g| g.date(1945, 2008)),
                g.bcrypt()
            ]
        },
    );
    db.table(
        "resenas",
        "id_resena int pk
         id_exposicion int -> exposiciones.id_exposicion
         num_socio int null -> socios.num_socio
         puntuacion int
         titulo varchar(80)
         comentario text
         publicada_el timestamp",
        600,
        |g, n| {
            row![
                n,
                g.key("exposiciones.id_exposicion"),
                g.some(80, |g| g.key("socios.num_socio")),
                g.between(1, 5),
                g.say("resenatitulo"),
                g.prose("resena", 1, 3),
                g.timestamp(2019, 2025)
            ]
        },
    );
}

fn tickets(db: &mut Database) {
    db.rows(
        "tarifas",
        "codigo varchar(6) pk
         nombre varchar(40)
         precio decimal(6,2)",
        vec![
            row!["GEN", "General", Value::Number("14.00".to_owned())],
            row!["RED", "Reducida", Value::Number("7.00".to_owned())],
            row!["SOC", "Socios", Value::Number("0.00".to_owned())],
            row!["GRU", "Grupos", Value::Number("9.50".to_owned())],
        ],
    );
    db.table(
        "entradas",
        "id_entrada bigint pk
         codigo_qr char(40)
         cod_tarifa varchar(6) -> tarifas.codigo
         num_socio int null -> socios.num_socio
         tarjeta varchar(20) null
         fecha_visita date",
        1500,
        |g, n| {
            row![
                n,
                g.hex(40),
                g.key("tarifas.codigo"),
                g.some(30, |g| g.key("socios.num_socio")),
                g.some(60, Maker::card),
                g.date(2024, 2025)
            ]
        },
    );
}

fn technical(db: &mut Database) {
    db.table(
        "usuarios",
        "id_usuario int pk
         login varchar(40) unique
         clave_hash varchar(80)
         num_empleado int null unique -> empleados.num_empleado
         token_api varchar(60) null",
        100,
        |g, n| {
            row![
                n,
                format!("usuario{n}"),
                g.bcrypt(),
                g.at("empleados.num_empleado", n),
                g.some(30, |g| g.token("mus_", 40))
            ]
        },
    );
    db.table(
        "registro_cambios",
        "id_cambio bigint pk
         tabla varchar(40)
         id_registro int
         id_usuario int -> usuarios.id_usuario
         datos json
         ip varchar(45)
         fecha timestamp
         index (tabla, id_registro)",
        1500,
        |g, n| {
            let datos = format!(
                "{{\"campo\": \"{}\", \"v\": {}}}",
                g.pick(&["sala", "anio"]),
                g.between(1, 99)
            );
            row![
                n,
                g.pick(&["obras", "prestamos", "socios"]),
                g.between(1, 400),
                g.key("usuarios.id_usuario"),
                datos,
                g.ip(),
                g.timestamp(2025, 2025)
            ]
        },
    );
}

fn tasks(db: &mut Database) {
    db.table(
        "cola_tareas",
        "id_tarea bigint pk
         tipo varchar(40)
         parametros text
         intentos int
         creada_el timestamp",
        500,
        |g, n| {
            let parametros = format!(
                "a:2:{{s:4:\"obra\";i:{};s:4:\"modo\";s:1:\"x\";}}",
                g.between(1, 600)
            );
            row![
                n,
                g.pick(&["enviar_correo", "generar_miniatura"]),
                parametros,
                g.between(0, 4),
                g.timestamp(2025, 2025)
            ]
        },
    );
    db.table(
        "migraciones",
        "version varchar(14) pk
         aplicada_el timestamp",
        40,
        |g, n| row![format!("20200101{n:06}"), g.timestamp(2020, 2025)],
    );
}
