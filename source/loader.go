// SPDX-License-Identifier: Apache-2.0

package source

import (
	"log/slog"
	"time"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/status"
)

// Reasons of the events about the configuration.
const (
	EventConfigRejected  = "ConfigRejected"  // warning; an older one stays in force
	EventConfigAccepted  = "ConfigAccepted"  // after one was rejected
	EventConfigAmbiguous = "ConfigAmbiguous" // warning; there are a ConfigMap and resources, and one of them does not count
)

// EventListInDoubt is the reason of an event about Herald's Namespace, a warning:
// the API server lists too few of some kind, and is asked again.
const EventListInDoubt = "ListInDoubt"

// Documents is where the configuration comes from.
type Documents interface {
	// Document returns the newest version, and whether one was read yet.
	Document() (doc Document, read bool)
}

// A Loader keeps the configuration that is in force, for a loop.
type Loader struct {
	Docs    Documents
	Log     *slog.Logger
	Protect *Protector // nil: nothing is protected

	Loaded   Loaded
	accepted time.Time // when loaded.Config came into force
}

// Next looks for a newer document, given what the cluster looks like. It reports
// whether there is any.
func (l *Loader) Next(now time.Time, snapshot func() cluster.Snapshot, synced bool) bool {
	doc, read := l.Docs.Document()
	if !read {
		return false
	}
	if l.Protect != nil && (!synced || !l.Protect.add(&doc, snapshot, l.Loaded)) {
		return false
	}
	before := l.Loaded
	l.Loaded = before.Next(doc)
	if l.Loaded.Config != before.Config {
		l.accepted = now
	}
	if err := l.Loaded.Err; err != nil && (before.Err == nil || err.Error() != before.Err.Error()) {
		l.Log.Error("configuration refused", "err", err)
	}
	if l.Loaded.Config != before.Config || l.Loaded.Err == nil && before.Err != nil {
		l.Log.Info("configuration accepted", "source", doc.Source, "version", doc.Version)
		if doc.Resources == nil { // whose statuses say it
			for _, text := range l.Loaded.Config.Warnings() {
				l.Log.Warn("configuration doubtful", "reason", text)
			}
		}
	}
	if doc.Notice != "" && doc.Notice != before.Document.Notice {
		l.Log.Warn("two configurations", "source", doc.Source, "reason", doc.Notice)
	}
	return true
}

// Report says which configuration is in force.
func (l *Loader) Report() status.Config {
	c := status.Config{
		Loaded:   l.Loaded.Config != nil,
		Source:   l.Loaded.Document.Source,
		Version:  l.Loaded.Accepted.Version,
		Accepted: l.accepted,
		Newest:   l.Loaded.Document.Version,
		Notice:   l.Loaded.Document.Notice,
	}
	if l.Loaded.Err != nil {
		c.Error = l.Loaded.Err.Error()
	}
	return c
}
