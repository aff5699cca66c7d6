// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxStock bounds the bytes of the copies that are being sent. A page of 10,000
// Services has 3 MB.
const maxStock = 16 << 20

// A stock has the copies of pages that are being sent. When they are too many, the
// readers of the oldest one are cut off: they had the time in which newer ones were made.
type stock struct {
	most int

	mu     sync.Mutex // guards the fields below
	size   int
	copies []sent // oldest first
}

// A sent copy is being sent to readers.
type sent struct {
	*copied
	readers []*http.ResponseController
}

// take notes that a reader is sent a copy.
func (s *stock) take(c *copied, r *http.ResponseController) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(c); i >= 0 {
		s.copies[i].readers = append(s.copies[i].readers, r)
		return
	}
	s.copies = append(s.copies, sent{c, []*http.ResponseController{r}})
	s.size += c.body.Len()
	for s.size > s.most && len(s.copies) > 1 {
		for _, reader := range s.copies[0].readers {
			reader.SetWriteDeadline(time.Unix(1, 0))
		}
		s.drop(0)
	}
}

// put notes that a reader is done with a copy.
func (s *stock) put(c *copied, r *http.ResponseController) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(c)
	if i < 0 {
		return
	}
	readers := &s.copies[i].readers
	*readers = slices.DeleteFunc(*readers, func(other *http.ResponseController) bool { return other == r })
	if len(*readers) == 0 {
		s.drop(i)
	}
}

func (s *stock) find(c *copied) int {
	return slices.IndexFunc(s.copies, func(other sent) bool { return other.copied == c })
}

func (s *stock) drop(i int) {
	s.size -= s.copies[i].body.Len()
	s.copies = slices.Delete(s.copies, i, i+1)
}
