// Package samples reads reports of usage: fifty thousand small JSON objects of
// one shape, many times an hour.
//
// Objects of exactly that shape, in any order of fields, are read by hand
// without garbage; anything unusual (escapes, other scripts, other forms of
// time, wrong types) goes through encoding/json, which also finds the words
// for what is wrong. Both ways give the same sample, which a fuzz test checks.
//
// Owns: the bytes of a report. Does not own: whether a sample is acceptable
// (core), limits of the request (console/api).
package samples
