// Package huaweisim plays Huawei Cloud KooGallery for one listing: it takes
// orders, calls the seller's production URL in version 2 or version 1 of the
// interface, repeats what is not answered with success, polls queryInstance
// until an instance is confirmed, serves Query order, checks the signatures of
// our calls and of our answers, and replaces its key.
//
// It shares no code with the adapter, so that a mistake in one shows in the
// other.
//
// Orders are numbered upwards and signed timestamps never repeat, and calls
// that freeze or thaw one instance wait for one another: the protocol has no
// other order for them. Everything else about an instance may overtake.
//
// Usage push checks both signatures, forms and limits at once, and the rest as
// the metering faults say: by default in the background, as documented, so that
// what is wrong shows in GET /_sim/metering only, after minute 15 of the hour.
// A metering_sn counts once; so does a period of an instance.
//
// It does not simulate: TLS, the case-sensitive name of the Body-Sign header,
// reviews and daily dial tests (trigger with testFlag=1 sends one), joint
// operation, packages, rate limits on Query order. What Query order answers about an order
// that does not exist is not documented; here it is MKT.0101 with status 400.
package huaweisim
