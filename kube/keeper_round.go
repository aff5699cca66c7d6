// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/heraldlb/herald/wake"
)

// rounds has all objects looked at whenever something changes.
func (k *keeper[K, W]) rounds(ctx context.Context, q *queue[K]) {
	rest := time.NewTicker(keeperRest)
	defer rest.Stop()
	restored := k.opts.Client.nextRestore()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.poke:
		case <-restored:
			// What was written may be gone, though no watch shows it.
			restored = k.opts.Client.nextRestore()
			k.lookAtAll()
		case <-rest.C:
			k.lookAtAll()
		}
		if k.opts.Settle > 0 {
			if !pause(ctx, k.opts.Settle) {
				return
			}
			select {
			case <-k.poke: // this round sees what woke it meanwhile
			default:
			}
		}
		if err := k.round(ctx, q); err != nil && ctx.Err() == nil {
			k.complain(err)
			k.poke.Set()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(k.opts.Every - k.opts.Settle):
		case <-k.hurry:
		}
	}
}

// lookAtAll has the next round look at all objects.
func (k *keeper[K, W]) lookAtAll() {
	k.mu.Lock()
	k.all = true
	k.mu.Unlock()
}

// round has those objects looked at that may have changed.
func (k *keeper[K, W]) round(ctx context.Context, q *queue[K]) error {
	if k.opts.Update != nil {
		changes, known, err := k.opts.Update(ctx)
		if err != nil || !known {
			return err
		}
		k.update(changes)
	}
	keys, all := k.turn(time.Now())
	if all && k.opts.There != nil {
		for _, key := range k.opts.There() {
			keys[key] = true
		}
	}
	var again []K
	for _, key := range slices.SortedFunc(maps.Keys(keys), k.opts.Compare) {
		if k.retry.NumRequeues(key) > 0 {
			again = append(again, key)
			continue
		}
		q.Add(key)
	}
	for _, key := range again {
		q.Add(key)
	}
	return nil
}

// update takes in what has become of what is wanted.
func (k *keeper[K, W]) update(changes map[K]*W) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wanted == nil {
		k.wanted = map[K]W{}
	}
	for key, want := range changes {
		k.dirty[key] = true
		if want == nil {
			delete(k.wanted, key)
		} else {
			k.wanted[key] = *want
		}
	}
}

// turn returns the objects to look at now, and whether these are all that are known.
func (k *keeper[K, W]) turn(now time.Time) (keys map[K]bool, all bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopTimer()
	k.due, keys, all = time.Time{}, k.dirty, k.all
	k.dirty, k.all = map[K]bool{}, false
	if all {
		clear(k.later) // each is looked at now
		for key := range k.wanted {
			keys[key] = true
		}
		for key := range k.kept {
			keys[key] = true
		}
		return keys, true
	}
	for key, at := range k.later {
		if at.After(now) {
			k.wakeBy(at)
			continue
		}
		keys[key] = true
		delete(k.later, key)
	}
	return keys, false
}

// wakeAt has an object looked at at a time, if it is not before.
func (k *keeper[K, W]) wakeAt(key K, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.later[key] = wake.Earlier(k.later[key], at)
	k.wakeBy(at)
}

// wakeBy wakes the keeper at a time, if it is not woken before. The caller holds mu.
func (k *keeper[K, W]) wakeBy(at time.Time) {
	if k.due = wake.Earlier(k.due, at); k.due.Equal(at) {
		k.stopTimer()
		k.timer = time.AfterFunc(time.Until(at), k.poke.Set)
	}
}

func (k *keeper[K, W]) stopTimer() {
	if k.timer != nil {
		k.timer.Stop()
	}
}
