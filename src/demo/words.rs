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

/// A sort of product: category, nouns, and what such a product is for.
pub struct Line {
    /// The category's name.
    pub category: &'static str,
    /// What the product is.
    pub nouns: &'static [&'static str],
    /// What people do with it.
    pub uses: &'static [&'static str],
    /// What can be wrong with it.
    pub faults: &'static [&'static str],
}

/// What the shop sells.
pub const LINES: &[Line] = &[
    Line {
        category: "Kitchen",
        nouns: &[
            "coffee grinder",
            "cast iron pan",
            "kettle",
            "chef's knife",
            "bread tin",
        ],
        uses: &[
            "makes an early breakfast easy",
            "handles a family dinner without fuss",
            "keeps a small kitchen tidy",
            "gets bread crusty and golden",
        ],
        faults: &[
            "the lid does not close",
            "the handle came loose",
            "it arrived with a dent",
        ],
    },
    Line {
        category: "Garden",
        nouns: &[
            "pruning shears",
            "watering can",
            "raised bed kit",
            "compost bin",
            "hose reel",
        ],
        uses: &[
            "keeps roses and hedges in shape",
            "waters seedlings gently",
            "turns kitchen scraps into soil",
            "fits a narrow balcony",
        ],
        faults: &[
            "it leaks at the joint",
            "two screws were missing",
            "the blade went blunt",
        ],
    },
    Line {
        category: "Camping",
        nouns: &[
            "two-person tent",
            "sleeping bag",
            "gas stove",
            "headlamp",
            "trekking backpack",
        ],
        uses: &[
            "stays dry in heavy rain",
            "keeps you warm on frosty nights",
            "boils water in three minutes",
            "carries a week of food in comfort",
        ],
        faults: &[
            "the zip is stuck",
            "a seam lets rain in",
            "the battery dies after an hour",
        ],
    },
    Line {
        category: "Audio",
        nouns: &[
            "wireless headphones",
            "bookshelf speaker",
            "turntable",
            "USB microphone",
            "radio",
        ],
        uses: &[
            "fills a living room with warm sound",
            "blocks the noise of a train",
            "records a clear voice for meetings",
            "plays old records beautifully",
        ],
        faults: &[
            "the left side is silent",
            "it loses the connection",
            "there is a constant hum",
        ],
    },
    Line {
        category: "Cycling",
        nouns: &[
            "commuter helmet",
            "pannier bag",
            "floor pump",
            "rear light",
            "chain lock",
        ],
        uses: &[
            "makes the ride to work safer",
            "keeps a laptop dry in the rain",
            "fills a tyre in twenty strokes",
            "can be seen from far away at night",
        ],
        faults: &[
            "the strap broke",
            "the bracket does not fit",
            "the key is stuck in the lock",
        ],
    },
    Line {
        category: "Office",
        nouns: &[
            "standing desk",
            "desk lamp",
            "ergonomic chair",
            "notebook set",
            "monitor arm",
        ],
        uses: &[
            "saves your back on long days",
            "gives soft light for late reading",
            "clears space on a crowded desk",
            "holds a heavy screen steady",
        ],
        faults: &[
            "the motor stops half-way",
            "the arm sinks slowly",
            "a wheel squeaks loudly",
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

/// What a product is made of.
pub const MATERIALS: &[&str] = &[
    "brushed steel",
    "recycled aluminium",
    "oiled beech",
    "waxed canvas",
    "tempered glass",
    "ripstop nylon",
    "cork and rubber",
    "solid oak",
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
