//! The words that the sample shop is made of.

/// First names.
pub const FIRST: &[&str] = &[
    "Amara", "Anna", "Ben", "Carla", "Chen", "Clara", "Daniel", "Dilan", "Elena", "Emil", "Farid",
    "Greta", "Hana", "Ines", "Ivan", "Jonas", "Kaya", "Lars", "Lena", "Luis", "Maja", "Malik",
    "Marta", "Mei", "Milan", "Nadia", "Noah", "Olga", "Omar", "Paula", "Petra", "Priya", "Rosa",
    "Samir", "Sofia", "Tariq", "Theo", "Vera", "Yusuf", "Zoe",
];

/// Family names.
pub const LAST: &[&str] = &[
    "Abbott", "Aydin", "Becker", "Bianchi", "Castro", "Costa", "Diaz", "Eriksen", "Fischer",
    "Garcia", "Haddad", "Ito", "Jansen", "Kaur", "Keller", "Kovacs", "Larsen", "Lopez", "Meyer",
    "Moreau", "Nakamura", "Novak", "Okafor", "Olsen", "Park", "Patel", "Petrov", "Reyes", "Rossi",
    "Santos", "Schmidt", "Silva", "Tanaka", "Vogel", "Walker", "Weber", "Yilmaz", "Zhang",
];

/// Cities with their countries.
pub const CITIES: &[(&str, &str)] = &[
    ("Lisbon", "Portugal"),
    ("Hamburg", "Germany"),
    ("Lyon", "France"),
    ("Oslo", "Norway"),
    ("Porto", "Portugal"),
    ("Krakow", "Poland"),
    ("Ghent", "Belgium"),
    ("Turin", "Italy"),
    ("Seville", "Spain"),
    ("Leeds", "United Kingdom"),
    ("Aarhus", "Denmark"),
    ("Graz", "Austria"),
    ("Utrecht", "Netherlands"),
    ("Cork", "Ireland"),
    ("Brno", "Czechia"),
    ("Izmir", "Turkey"),
];

/// A product: what it is, and two things that it does.
pub struct Thing {
    /// What it is.
    pub noun: &'static str,
    /// What it does.
    pub uses: [&'static str; 2],
}

/// A sort of product.
pub struct Line {
    /// The category's name.
    pub category: &'static str,
    /// What its products are made of.
    pub materials: &'static [&'static str],
    /// Its products.
    pub things: &'static [Thing],
    /// What can be wrong with them.
    pub faults: &'static [&'static str],
}

/// What the shop sells.
pub const LINES: &[Line] = &[
    Line {
        category: "Kitchen",
        materials: &["brushed steel", "enamelled iron", "oiled beech"],
        things: &[
            Thing {
                noun: "coffee grinder",
                uses: [
                    "grinds evenly for espresso and filter",
                    "is quiet enough for an early morning",
                ],
            },
            Thing {
                noun: "cast iron pan",
                uses: [
                    "browns meat and vegetables without sticking",
                    "goes from the stove into the oven",
                ],
            },
            Thing {
                noun: "kettle",
                uses: [
                    "boils a litre of water in three minutes",
                    "pours without dripping",
                ],
            },
            Thing {
                noun: "chef's knife",
                uses: [
                    "slices ripe tomatoes without crushing them",
                    "stays sharp for months",
                ],
            },
            Thing {
                noun: "bread tin",
                uses: [
                    "bakes a loaf with a golden crust",
                    "lets the bread slide out in one piece",
                ],
            },
        ],
        faults: &[
            "the handle came loose",
            "it arrived with a dent",
            "the coating flakes off",
        ],
    },
    Line {
        category: "Garden",
        materials: &["galvanised steel", "recycled plastic", "weatherproof larch"],
        things: &[
            Thing {
                noun: "pair of pruning shears",
                uses: [
                    "keeps roses and hedges in shape",
                    "cuts thumb-thick branches with ease",
                ],
            },
            Thing {
                noun: "watering can",
                uses: [
                    "waters seedlings gently",
                    "holds ten litres and is easy to carry",
                ],
            },
            Thing {
                noun: "raised bed kit",
                uses: [
                    "turns a narrow balcony into a vegetable patch",
                    "goes together without tools",
                ],
            },
            Thing {
                noun: "compost bin",
                uses: [
                    "turns kitchen scraps into dark soil",
                    "keeps rats and rain out",
                ],
            },
            Thing {
                noun: "hose reel",
                uses: [
                    "winds twenty metres of hose without kinks",
                    "hangs on the wall out of the way",
                ],
            },
        ],
        faults: &[
            "two screws were missing",
            "the plastic cracked in the first frost",
            "a part of it rusts already",
        ],
    },
    Line {
        category: "Camping",
        materials: &["ripstop nylon", "waxed canvas", "light aluminium"],
        things: &[
            Thing {
                noun: "two-person tent",
                uses: ["stays dry in heavy rain", "is up in five minutes"],
            },
            Thing {
                noun: "sleeping bag",
                uses: [
                    "keeps you warm on frosty nights",
                    "packs down to the size of a loaf",
                ],
            },
            Thing {
                noun: "camping chair",
                uses: [
                    "carries a heavy person without wobbling",
                    "folds flat under a car seat",
                ],
            },
            Thing {
                noun: "water bottle",
                uses: [
                    "keeps tea hot until the evening",
                    "does not leak in a full backpack",
                ],
            },
            Thing {
                noun: "trekking backpack",
                uses: [
                    "carries a week of food in comfort",
                    "keeps its load dry in a storm",
                ],
            },
        ],
        faults: &[
            "a seam came undone",
            "it tore on the second trip",
            "it smells of chemicals",
        ],
    },
    Line {
        category: "Audio",
        materials: &["walnut veneer", "matt black metal", "soft leather"],
        things: &[
            Thing {
                noun: "pair of wireless headphones",
                uses: [
                    "blocks the noise of a train",
                    "plays for thirty hours on one charge",
                ],
            },
            Thing {
                noun: "bookshelf speaker",
                uses: [
                    "fills a living room with warm sound",
                    "is small enough for a crowded shelf",
                ],
            },
            Thing {
                noun: "turntable",
                uses: [
                    "plays old records beautifully",
                    "stops by itself at the end of a side",
                ],
            },
            Thing {
                noun: "USB microphone",
                uses: [
                    "records a clear voice for meetings",
                    "hides the noise of the keyboard",
                ],
            },
            Thing {
                noun: "kitchen radio",
                uses: [
                    "finds its stations within seconds",
                    "survives steam and splashes",
                ],
            },
        ],
        faults: &[
            "the left side is silent",
            "it loses the connection",
            "there is a constant hum",
        ],
    },
    Line {
        category: "Cycling",
        materials: &["tough polymer", "hardened steel", "reflective fabric"],
        things: &[
            Thing {
                noun: "commuter helmet",
                uses: ["sits firmly and does not press", "has a light at the back"],
            },
            Thing {
                noun: "pannier bag",
                uses: [
                    "keeps a laptop dry in the rain",
                    "comes off the rack with one hand",
                ],
            },
            Thing {
                noun: "floor pump",
                uses: [
                    "fills a tyre in twenty strokes",
                    "fits every valve there is",
                ],
            },
            Thing {
                noun: "rear light",
                uses: [
                    "can be seen from far away at night",
                    "shines for a month on one battery",
                ],
            },
            Thing {
                noun: "chain lock",
                uses: ["holds off bolt cutters", "is long enough for two bicycles"],
            },
        ],
        faults: &[
            "the bracket does not fit",
            "it broke after a week",
            "it rattles on every cobblestone",
        ],
    },
    Line {
        category: "Office",
        materials: &["solid oak", "powder-coated steel", "grey felt"],
        things: &[
            Thing {
                noun: "standing desk",
                uses: ["saves your back on long days", "rises without a sound"],
            },
            Thing {
                noun: "desk lamp",
                uses: [
                    "gives soft light for late reading",
                    "remembers how bright you like it",
                ],
            },
            Thing {
                noun: "office chair",
                uses: [
                    "supports your back through a whole day",
                    "rolls quietly on wooden floors",
                ],
            },
            Thing {
                noun: "pinboard",
                uses: [
                    "keeps notes and photos in one place",
                    "swallows the echo of a bare room",
                ],
            },
            Thing {
                noun: "monitor arm",
                uses: [
                    "holds a heavy screen steady",
                    "clears space on a crowded desk",
                ],
            },
        ],
        faults: &[
            "it wobbles",
            "a screw hole is in the wrong place",
            "the surface came scratched",
        ],
    },
];

/// What a product is like, for its name.
pub const STYLES: &[&str] = &[
    "Compact",
    "Classic",
    "Nordic",
    "Everyday",
    "Trail",
    "Studio",
    "Heritage",
    "Quiet",
    "Bright",
    "Sturdy",
    "Featherlight",
    "Urban",
];

/// Notes that customers leave with an order. `{product}` and `{city}` are filled in.
pub const NOTES: &[&str] = &[
    "Please leave the parcel with the neighbour on the ground floor if nobody answers the bell.",
    "This {product} is a birthday present, so please wrap it and leave the invoice out of the box.",
    "Ring twice, the first bell often does not work. The door is behind the bakery.",
    "We are moving to {city} next week, so it must arrive before Friday or go to the new address.",
    "Could you send the {product} together with my earlier order to save on packaging?",
    "Deliver to the workshop entrance at the back; the courier needs a trolley for heavy boxes.",
    "If the {product} is out of stock, please ship the rest and refund that line.",
    "The last delivery to {city} was damaged by rain, please use a waterproof bag this time.",
    "Call before delivery. A baby sleeps in the afternoon, so no bell between one and three.",
    "I need a receipt with the company name and the tax number for my bookkeeping.",
    "Gift for a retired teacher: a handwritten card saying thank you would be lovely.",
    "No plastic filling if you can avoid it, paper is fine.",
];

/// Openings of a review, from one star to five.
pub const OPINIONS: &[&[&str]] = &[
    &[
        "Very disappointed.",
        "I sent it back after two days.",
        "Do not buy this.",
    ],
    &[
        "Not what I hoped for.",
        "It works, but barely.",
        "For this price I expected more.",
    ],
    &[
        "It is all right.",
        "Does the job, no more and no less.",
        "Mixed feelings about this one.",
    ],
    &[
        "A solid choice.",
        "I like it a lot.",
        "Better than the one I had before.",
    ],
    &[
        "Absolutely wonderful.",
        "I use it every single day.",
        "Worth every cent.",
    ],
];

/// How a review goes on when its author is happy.
pub const PRAISE: &[&str] = &[
    "After three months it still looks new.",
    "My neighbour ordered one as soon as she saw it.",
    "Delivery took two days and the box was neat.",
    "The instructions were clear and short.",
    "It feels well made and heavier than it looks.",
];

/// How a review goes on when its author is not.
pub const BLAME: &[&str] = &[
    "Support answered after a week and only sent a form.",
    "The colour is not the one in the picture.",
    "The instructions seem to be for another model.",
    "I would rather pay more for one that lasts.",
    "It smells of glue even after airing it for days.",
];

/// What a support ticket asks for.
pub const REQUESTS: &[(&str, &str)] = &[
    (
        "Refund not received",
        "I returned the {product} two weeks ago and the refund has not reached my account.",
    ),
    (
        "Parcel never arrived",
        "Tracking says the {product} was delivered, but nobody in the house has seen it.",
    ),
    (
        "Damaged on arrival",
        "The box was torn and {fault}. I have photos of the {product} if you need them.",
    ),
    (
        "Wrong item in the box",
        "I ordered the {product} and got something else. How do I exchange it?",
    ),
    (
        "Question about the warranty",
        "My {product} is eleven months old and {fault}. Is that covered?",
    ),
    (
        "Change of address",
        "Please send the {product} to my office in {city} and not to my home.",
    ),
    (
        "Spare part needed",
        "Can I buy a replacement for the {product}? With mine, {fault}.",
    ),
    (
        "Invoice is missing",
        "I cannot find the invoice for the {product} and need it for my tax return.",
    ),
];

/// How a support ticket ends.
pub const CLOSINGS: &[&str] = &[
    "I would be glad to hear from you this week.",
    "Please call me in the evening, I work during the day.",
    "Thank you for looking into it.",
    "This is the second time I am writing about it.",
    "A replacement would be fine too.",
];
