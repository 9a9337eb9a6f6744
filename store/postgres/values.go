package postgres

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"

	"cloudsettle/core"
)

// maxKey bounds a key in bytes, as in every store. PostgreSQL takes 2,704 in
// an index.
const maxKey = 2048

// isKey reports whether parts can be a key: PostgreSQL's text holds no NUL and
// nothing that is not UTF-8, and the last part is not empty.
func isKey(parts ...string) bool {
	size := len(parts)
	for _, part := range parts {
		if size += len(part); !isText(part) {
			return false
		}
	}
	return len(parts) > 0 && parts[len(parts)-1] != "" && size <= maxKey+1
}

func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// checkKey explains why parts are no key, or returns nil.
func checkKey(what string, parts ...string) error {
	if isKey(parts...) {
		return nil
	}
	for _, part := range parts {
		if !isText(part) {
			return core.Invalid("invalid_key", "%s: %q holds a NUL or is not UTF-8", what, part)
		}
	}
	if len(parts) == 0 || parts[len(parts)-1] == "" {
		return core.Invalid("invalid_key", "%s: the key is empty", what)
	}
	return &core.Fault{
		Err: core.ErrTooLarge, Code: "key_too_large", Detail: what + ": the key is too long",
	}
}

// clean returns s as text can hold it. What comes from outside and is not
// looked up is kept that way rather than refused, as JSON does it.
func clean(s string) string {
	if isText(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}

// cleanAll is clean for lists, of which there is never none.
func cleanAll[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = clean(string(s))
	}
	return out
}

// texts is the way of a list of names to a column.
func texts[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// orNil makes an empty list none, as every store returns it.
func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

// encodeJSON returns v as a jsonb column takes it: without NUL in its texts.
func encodeJSON(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("postgres: encode: %w", err)
	}
	return withoutNUL(text), nil
}

// withoutNUL replaces escaped NULs in JSON text by another escape of the same
// size. A backslash that is itself escaped begins none.
func withoutNUL(text []byte) []byte {
	for at := 0; ; {
		next := bytes.IndexByte(text[at:], '\\')
		if next < 0 {
			return text
		}
		at += next
		if bytes.HasPrefix(text[at:], []byte(`\u0000`)) {
			copy(text[at:], `\ufffd`)
		}
		at += 2
	}
}

// decodeJSON reads a jsonb column.
func decodeJSON(text []byte, v any) error {
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("postgres: a stored value is damaged: %w", err)
	}
	return nil
}

// utc is a time as it is stored: UTC, to the microsecond.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// orNull is a time on its way to a column where no time is null.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = utc(t)
	return &t
}

// into is the way of a column with a time, or null, into t.
func into(t *time.Time) *instant { return (*instant)(t) }

// instant is a time that may be null.
type instant time.Time

// ScanTimestamptz implements pgtype.TimestamptzScanner.
func (i *instant) ScanTimestamptz(v pgtype.Timestamptz) error {
	*i = instant(utc(v.Time))
	return nil
}

// whole is a number that Go has without a sign and PostgreSQL with one. All of
// them count something, so they are far below where that matters.
func whole(n uint64) int64 { return int64(n) } // #nosec -- see above
