// Package huawei speaks the dialect of Huawei Cloud KooGallery (云商店) for SaaS
// products: the callbacks of both versions of its production interface, and
// the Query order call that gives those of version 2 their content.
//
// # Callbacks
//
// One production URL receives every activity. Version 2 is a POST with a JSON
// body and signature, timestamp and nonce in the query; it carries identifiers
// only, so a purchase, renewal or change is Incomplete until [Adapter.Complete]
// has queried its order. Version 1 is a GET with everything in the query; it is
// closed for new products and still serves what was sold with it. Sources:
// support.huaweicloud.com/accessg-marketplace, pages 0070649427 to 0070649431
// and 0070649476 (version 2, 2025), 0070649013, 0070649180, 0070649056,
// 0070649407 and 0070649066 (version 1, 2023 to 2025), and the sample projects
// that Huawei hands to sellers.
//
// # What the sources leave open, and what is done here
//
//   - The sort direction of the signed body of version 2: the raw body is
//     verified first, then its compact form with keys ascending, as in the
//     sample code. Values are never re-encoded.
//   - The unit of its timestamp: the pages of China and every example have
//     milliseconds, the international page says seconds. Both are told apart
//     by their 13 or 10 digits.
//   - How old a callback of version 1 may be: no page says. v1_max_skew.
//   - The zone of expireTime in version 1 and in Query order: no page says.
//     time_zone. In version 2 callbacks it is documented as UTC.
//   - Whether answers of version 2 are signed: only the European page says so.
//     Body-Sign is always sent; a caller that does not know it ignores it.
//   - How often a failed callback is repeated: pages say 60 times every two
//     minutes, three times every hour, or for an hour. So nothing here depends
//     on a cadence.
//
// # Identity and order
//
// The identity of a subscription is the instanceId, which the seller chooses:
// the businessId of the first newInstance. Every repeat carries another
// businessId, so repeats are recognized by their order line, or by order and
// product if the product is paid per use. Renewals and changes rank by their
// order: creation time and id in version 2, which has both, the id alone in
// version 1, below everything of version 2. Freezing and thawing have no order
// but the signed timestamp, in milliseconds in both versions.
//
// # Usage push
//
// Charges of pay-per-use instances are pushed as whole units of a fixed amount
// (pages 0070649410 and 0070649411, usage codes 0070649186). A record is sent
// with the bytes it was sealed with; its id is its metering_sn, so one whose
// answer was lost is sent again. What the sources leave open:
//
//   - Success means that a record was taken in. It is validated in the
//     background, and what is dropped then shows in the seller's console only.
//     So what would be dropped is refused here before it is sent, as far as it
//     can be known: the life of the resource cannot.
//   - How many records a call may have, 100 or 1000: metering.batch.
//   - How many calls a second: metering.rate.
//   - Whether usage_value is a string or a number: metering.usage_value.
//   - How long usage is taken after the end of a subscription: no page says
//     it in one sentence. metering.final_within.
//   - Where a billing month begins: the pages of China bill in Beijing time, the
//     others do not say. metering.time_zone.
//   - The JSON keys of the list of abnormal records: read in any spelling. A
//     list that cannot be read makes its call unknown, not accepted.
//   - Pushing late is no error for 21 days; usage that comes more than two hours
//     after the hour, or after 01:00, is billed a day later.
//
// # Not here
//
// The older usage push without metering_sn, packages that stop when they are
// used up (nothing tells which package an instance has), the directory
// synchronization of joint operation (own paths below /produceAPI), licence
// products: getLicense is answered as unsupported.
package huawei
