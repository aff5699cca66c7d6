// SPDX-License-Identifier: Apache-2.0

package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"time"

	"github.com/heraldlb/herald/topology"
)

// A view is a Topology as it is sent. It is immutable.
type view struct {
	topology topology.Topology
	etag     string // of all but the time
	zipped   []byte // as JSON
	made     time.Time
}

// Members of a Topology's JSON that are written apart from the others. No text in it can
// contain them, since quotes in texts are escaped.
var (
	noServices = []byte(`"services":[]`)
	noTime     = []byte(`"at":"0001-01-01T00:00:00Z"`)
)

// newView encodes a Topology. The JSON of thousands of Services is never in memory as a whole.
func newView(t topology.Topology, now time.Time) (*view, error) {
	rest := t
	rest.At, rest.Services = time.Time{}, []topology.Service{}
	text, err := json.Marshal(rest)
	if err != nil {
		return nil, err
	}
	at, err := json.Marshal(t.At)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	var zipped bytes.Buffer
	z, err := gzip.NewWriterLevel(&zipped, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	before, after, _ := bytes.Cut(text, noServices)
	hash.Write(before)
	z.Write(bytes.Replace(before, noTime, append([]byte(`"at":`), at...), 1))
	both := io.MultiWriter(hash, z) // neither fails: one is a hash, the other writes into memory
	io.WriteString(both, `"services":[`)
	encoder := json.NewEncoder(both)
	for i := range t.Services {
		if i > 0 {
			io.WriteString(both, ",")
		}
		if err := encoder.Encode(&t.Services[i]); err != nil {
			return nil, err
		}
	}
	io.WriteString(both, "]")
	both.Write(after)
	if err := z.Close(); err != nil {
		return nil, err
	}
	return &view{
		topology: t, made: now, zipped: bytes.Clone(zipped.Bytes()),
		etag: `"` + hex.EncodeToString(hash.Sum(nil)[:12]) + `"`,
	}, nil
}
