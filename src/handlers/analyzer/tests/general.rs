//! Small databases of other trades and languages, without foreign keys: what is a join, an entity, a secret.

use std::collections::BTreeSet;

use super::*;

/// Sixty numbered rows, and sentences that differ from row to row.
const NUMBERS: &str = "
CREATE TABLE n(i INTEGER PRIMARY KEY, said TEXT);
INSERT INTO n SELECT value, 'The ' || substr('oldnewbigredwet', 1 + 3 * (value % 5), 3) || ' one that we saw in ' || (1960 + value) ||
  ' had a ' || substr('roofdoorpath', 1 + 4 * (value % 3), 4) || ' that nobody had looked after since then.'
  FROM (WITH RECURSIVE c(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM c WHERE value < 60) SELECT value FROM c);";

const STAFF: &str = "
CREATE TABLE departments(dept_id INTEGER PRIMARY KEY, dept_name TEXT, head_id INTEGER);
CREATE TABLE employees(emp_id INTEGER PRIMARY KEY, first_name TEXT, last_name TEXT, national_id TEXT, salary NUMERIC, birth_date DATE,
  work_email TEXT, dept_id INTEGER, manager_id INTEGER);
CREATE TABLE job_postings(id INTEGER PRIMARY KEY, title TEXT, description TEXT, dept_id INTEGER, salary_min NUMERIC, recruiter_id INTEGER);
CREATE TABLE performance_reviews(id INTEGER PRIMARY KEY, emp_id INTEGER, reviewer_id INTEGER, strengths TEXT, rating INTEGER);
CREATE TABLE documents(id INTEGER PRIMARY KEY, owner_type TEXT, owner_id INTEGER, file_name TEXT);
INSERT INTO departments SELECT 100 + i, 'Department of ' || substr('salesstaffstock', 1 + 5 * (i % 3), 5) || ' ' || char(64 + i), 1000 + i FROM n WHERE i <= 12;
INSERT INTO employees SELECT 1000 + i, 'Ada' || char(65 + i % 26), 'Stone' || char(65 + i % 20), printf('%03d-%02d-%04d', 100 + i, 10 + i % 80, 1000 + i * 7),
  4000 + i, '1980-01-' || printf('%02d', 1 + i % 28), 'u' || i || '@example.org', 101 + i % 12, CASE WHEN i > 3 THEN 1001 + i % 3 END FROM n;
INSERT INTO job_postings SELECT i, 'Senior keeper of things ' || i, said, 101 + i % 12, 3000, 1001 + i * 7 % 60 FROM n;
INSERT INTO performance_reviews SELECT i, 1001 + i * 13 % 60, 1001 + i * 17 % 60, said, 1 + i % 5 FROM n;
INSERT INTO documents SELECT i, CASE i % 2 WHEN 0 THEN 'employee' ELSE 'department' END, 101 + i % 12, 'file-' || i || '.pdf' FROM n;";

const TIENDA: &str = "
CREATE TABLE categorias(id_categoria INTEGER PRIMARY KEY, nombre TEXT, id_categoria_padre INTEGER);
CREATE TABLE productos(id_producto INTEGER PRIMARY KEY, nombre TEXT, descripcion TEXT, id_categoria INTEGER, precio NUMERIC);
CREATE TABLE clientes(id_cliente INTEGER PRIMARY KEY, nombre TEXT, apellidos TEXT, dni TEXT, telefono TEXT, correo TEXT, direccion TEXT,
  fecha_nacimiento DATE);
CREATE TABLE pedidos(id_pedido INTEGER PRIMARY KEY, id_cliente INTEGER, fecha DATE, observaciones TEXT);
CREATE TABLE lineas_pedido(id_pedido INTEGER, num_linea INTEGER, id_producto INTEGER, cantidad INTEGER, PRIMARY KEY(id_pedido, num_linea));
CREATE TABLE resenas(id_resena INTEGER PRIMARY KEY, id_producto INTEGER, id_cliente INTEGER, puntuacion INTEGER, comentario TEXT);
CREATE TABLE usuarios(id_usuario INTEGER PRIMARY KEY, usuario TEXT UNIQUE, contrasena TEXT);
CREATE TABLE bitacora(id INTEGER PRIMARY KEY, creado_por INTEGER, tabla TEXT, valor_anterior TEXT, valor_nuevo TEXT, direccion_ip TEXT);
INSERT INTO categorias SELECT i, 'Cosas de ' || substr('casamesapatio', 1 + 4 * (i % 3), 4) || char(64 + i), CASE WHEN i > 4 THEN 1 + i % 4 END FROM n WHERE i <= 15;
INSERT INTO productos SELECT 200 + i, 'Lámpara de mesa ' || i, said, 1 + i % 15, i * 1.5 FROM n;
INSERT INTO clientes SELECT 3000 + i, 'Eva' || char(65 + i % 26), 'Ruiz' || char(65 + i % 9), printf('%08d', i * 1234567) || 'K',
  '612 345 ' || (100 + i), 'c' || i || '@example.org', 'Calle Mayor, ' || i, '1990-02-' || printf('%02d', 1 + i % 28) FROM n;
INSERT INTO pedidos SELECT 7000 + i, 3001 + i * 7 % 60, '2024-03-01', said FROM n;
INSERT INTO lineas_pedido SELECT 7000 + i, 1, 201 + i % 60, 2 FROM n UNION ALL SELECT 7000 + i, 2, 201 + i * 11 % 60, 1 FROM n;
INSERT INTO resenas SELECT i, 201 + i * 17 % 60, 3001 + i * 23 % 60, 1 + i % 5, said FROM n;
INSERT INTO usuarios SELECT i, 'u' || i, '$2b$12$abcdefghijklmnopqrstuv' || i FROM n WHERE i <= 20;
INSERT INTO bitacora SELECT i, 1 + i % 20, 'pedidos', '{\"estado\": 1}', '{\"estado\": 2}', '10.0.0.' || i FROM n;";

const HOMES: &str = "
CREATE TABLE property_types(id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE agents(id INTEGER PRIMARY KEY, full_name TEXT, email TEXT, bio TEXT);
CREATE TABLE properties(id INTEGER PRIMARY KEY, headline TEXT, description TEXT, street TEXT, city TEXT, price NUMERIC, bedrooms INTEGER,
  type_id INTEGER, listing_agent_id INTEGER);
CREATE TABLE photos(id INTEGER PRIMARY KEY, property_id INTEGER, caption TEXT, url TEXT);
CREATE TABLE amenities(id INTEGER PRIMARY KEY, label TEXT);
CREATE TABLE property_amenities(property_id INTEGER, amenity_id INTEGER, PRIMARY KEY(property_id, amenity_id));
CREATE TABLE viewings(id INTEGER PRIMARY KEY, property_id INTEGER, agent_id INTEGER, feedback TEXT, rating INTEGER);
INSERT INTO property_types VALUES(1, 'House'), (2, 'Flat'), (3, 'Barn'), (4, 'Shop');
INSERT INTO agents SELECT i, 'Ada Stone' || char(64 + i), 'a' || i || '@example.org', said FROM n WHERE i <= 20;
INSERT INTO properties SELECT i, 'A quiet home by the river ' || i, said, i || ' Baker Street', 'Bath', i * 1000, 1 + i % 5, 1 + i % 4, 1 + i % 20 FROM n;
INSERT INTO photos SELECT i, i, 'View of the garden from room ' || i, 'https://example.org/' || i || '.jpg' FROM n;
INSERT INTO amenities SELECT i, substr('PoolSaunaGarageTerrace', 1 + 5 * (i % 4), 5) || char(64 + i) FROM n WHERE i <= 12;
INSERT INTO property_amenities SELECT i, 1 + i % 12 FROM n;
INSERT INTO viewings SELECT i, 1 + i * 7 % 60, 1 + i % 20, said, 1 + i % 5 FROM n;";

/// Numbers that are among every other table's keys by chance, and names that nearly mean another table.
const TRAPS: &str = "
CREATE TABLE levels(id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE courses(id INTEGER PRIMARY KEY, title TEXT, description TEXT, level INTEGER, version INTEGER, unit_id INTEGER, external_id INTEGER,
  room_no INTEGER, product_group_id INTEGER, language TEXT);
CREATE TABLE ratings(id INTEGER PRIMARY KEY, subject_type TEXT, subject_id INTEGER, score INTEGER, position INTEGER, year_no INTEGER);
CREATE TABLE treatments(id INTEGER PRIMARY KEY, team_id INTEGER, item_count INTEGER, session_no INTEGER, status INTEGER, type_id INTEGER);
CREATE TABLE lead_types(id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE products(id INTEGER PRIMARY KEY, name TEXT, sort_order INTEGER, order_id INTEGER);
CREATE TABLE order_lines(id INTEGER PRIMARY KEY, line_no INTEGER, quantity INTEGER);
CREATE TABLE tenants(id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE stores(tenant_id INTEGER, id INTEGER, name TEXT, PRIMARY KEY(tenant_id, id));
CREATE TABLE shelves(tenant_id INTEGER, id INTEGER, label TEXT, PRIMARY KEY(tenant_id, id));
INSERT INTO levels SELECT i, 'Level ' || char(64 + i) FROM n WHERE i <= 6;
INSERT INTO courses SELECT i, 'How to keep things dry ' || i, said, 1 + i % 6, 1 + i % 3, 1 + i % 6, i, 1 + i % 6, 1 + i % 6,
  substr('deenfr', 1 + 2 * (i % 3), 2) FROM n;
INSERT INTO ratings SELECT i, CASE i % 2 WHEN 0 THEN 'course' ELSE 'product' END, 1 + i % 40, 1 + i % 5, i, i FROM n;
INSERT INTO treatments SELECT i, i, i, i, 1 + i % 4, 1 + i % 4 FROM n;
INSERT INTO lead_types SELECT i, 'Lead ' || char(64 + i) FROM n WHERE i <= 5;
INSERT INTO products SELECT i, 'Thing ' || char(64 + i % 26), i, i FROM n;
INSERT INTO order_lines SELECT i, 1 + i % 4, 1 + i % 4 FROM n;
INSERT INTO tenants VALUES(1, 'North'), (2, 'South'), (3, 'East');
INSERT INTO stores SELECT 1 + i % 3, i, 'Store ' || char(64 + i % 26) FROM n;
INSERT INTO shelves SELECT 1 + i % 3, i, 'Shelf ' || char(64 + i % 26) FROM n WHERE i <= 40;";

async fn understood(script: &str) -> (BTreeSet<String>, MigrationPlan) {
    let script: &'static str =
        Box::leak(format!("{NUMBERS}{script} DROP TABLE n;").into_boxed_str());
    let context = context(script, 200).await;
    let joins = context.joins.iter().map(|join| {
        let (from, to) = (join.from_columns.join("+"), join.to_columns.join("+"));
        format!("{}.{from} -> {}.{to}", join.from, join.to)
    });
    let joins = joins.collect();
    (joins, analyze(&job(), &context).expect("a plan").plan)
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

fn roots(plan: &MigrationPlan) -> Vec<&str> {
    plan.entities
        .iter()
        .map(|entity| entity.root.name.as_str())
        .collect()
}

/// Asserts that columns are in no text and no metadata.
fn assert_nowhere(plan: &MigrationPlan, columns: &[&str]) {
    for entity in &plan.entities {
        let text = serde_json::to_string(&(&entity.sections, &entity.metadata)).expect("JSON");
        for column in columns {
            assert!(
                !text.contains(&format!("\"column\":\"{column}\"")),
                "{}: {column}",
                entity.name
            );
        }
    }
}

#[tokio::test]
async fn a_firm_and_its_people() {
    let (joins, plan) = understood(STAFF).await;
    assert_eq!(
        joins,
        lines(
            "departments.head_id -> employees.emp_id
             employees.dept_id -> departments.dept_id
             employees.manager_id -> employees.emp_id
             job_postings.dept_id -> departments.dept_id
             job_postings.recruiter_id -> employees.emp_id
             performance_reviews.emp_id -> employees.emp_id
             performance_reviews.reviewer_id -> employees.emp_id"
        )
    );
    assert_eq!(roots(&plan), ["job_postings", "performance_reviews"]);
    assert_nowhere(
        &plan,
        &["national_id", "salary", "birth_date", "work_email"],
    );
    assert!(metadata(entity(&plan, "job_postings")).contains(&"salary_min"));
}

#[tokio::test]
async fn a_shop_in_spanish() {
    let (joins, plan) = understood(TIENDA).await;
    assert_eq!(
        joins,
        lines(
            "bitacora.creado_por -> usuarios.id_usuario
             categorias.id_categoria_padre -> categorias.id_categoria
             lineas_pedido.id_pedido -> pedidos.id_pedido
             lineas_pedido.id_producto -> productos.id_producto
             pedidos.id_cliente -> clientes.id_cliente
             productos.id_categoria -> categorias.id_categoria
             resenas.id_cliente -> clientes.id_cliente
             resenas.id_producto -> productos.id_producto"
        )
    );
    assert_eq!(roots(&plan), ["pedidos", "productos", "resenas"]);
    assert_eq!(
        shape(entity(&plan, "productos")),
        [
            "Nombre: r.nombre",
            "Categoria: p1.nombre",
            "Descripcion: r.descripcion"
        ]
    );
    assert!(shape(entity(&plan, "pedidos")).contains(&"Lineas pedido: [p2.nombre]".to_owned()));
    assert_nowhere(
        &plan,
        &[
            "dni",
            "telefono",
            "correo",
            "direccion",
            "fecha_nacimiento",
            "contrasena",
            "direccion_ip",
        ],
    );
}

#[tokio::test]
async fn homes_for_sale() {
    let (joins, plan) = understood(HOMES).await;
    assert_eq!(
        joins,
        lines(
            "photos.property_id -> properties.id
             properties.listing_agent_id -> agents.id
             properties.type_id -> property_types.id
             property_amenities.amenity_id -> amenities.id
             property_amenities.property_id -> properties.id
             viewings.agent_id -> agents.id
             viewings.property_id -> properties.id"
        )
    );
    // Captions are parts of the home, and agents have something to say of themselves.
    assert_eq!(roots(&plan), ["agents", "properties", "viewings"]);
    let shape = shape(entity(&plan, "properties"));
    for part in [
        "Headline: r.headline",
        "Type: p2.name",
        "Description: r.description",
        "Photos: [c.caption]",
    ] {
        assert!(shape.contains(&part.to_owned()), "{part} in {shape:?}");
    }
    assert_nowhere(&plan, &["email", "street"]);
}

#[tokio::test]
async fn numbers_without_a_name_join_nothing() {
    let (joins, _) = understood(TRAPS).await;
    assert_eq!(
        joins,
        lines(
            "shelves.tenant_id -> tenants.id
             stores.tenant_id -> tenants.id"
        )
    );
}

#[tokio::test]
async fn the_many_to_many_table_is_named() {
    let script: &'static str = Box::leak(format!("{NUMBERS}{HOMES}").into_boxed_str());
    let context = context(script, 200).await;
    let [junction] = context.junctions.as_slice() else {
        panic!("one, not {:?}", context.junctions);
    };
    assert_eq!(junction.through.name, "property_amenities");
    assert!(junction.unique_pairs);
    let sides = [junction.left.name.as_str(), junction.right.name.as_str()];
    assert_eq!(sides, ["amenities", "properties"]);
}
