package api_test

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// BenchmarkRead is one read with everything before it: key, role, validation.
func BenchmarkRead(b *testing.B) {
	s := newServer(b)
	s.workspace("w")
	bench(b, s, 200, "GET", "/api/v1/workspaces", "")
}

// BenchmarkCreate is one durable change by each of many callers at a time.
func BenchmarkCreate(b *testing.B) {
	s := newServer(b)
	bench(b, s, 201, "POST", "/api/v1/workspaces", `{"name":"w","site":"c1","owner_email":"dev@acme.example"}`)
}

func bench(b *testing.B, s *server, status int, method, path string, body string) {
	b.Helper()
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			req := httptest.NewRequestWithContext(b.Context(), method, path, strings.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+s.admin)
			rec := httptest.NewRecorder()
			if s.echo.ServeHTTP(rec, req); rec.Code != status {
				b.Errorf("%s %s = %d %s, want %d", method, path, rec.Code, rec.Body, status)
				return
			}
		}
	})
}
