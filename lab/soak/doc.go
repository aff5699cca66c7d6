// SPDX-License-Identifier: Apache-2.0

// Package soak runs random faults on a lab and checks, all the time, that Herald keeps
// its promises.
//
// [Generate] draws a list of [Step] values from a seed. [Run] carries them out on a lab
// and observes. A step declares what it may cost: its [Excuse] values. [Check] compares
// the observations with the excuses, and what remains is a [Violation]. [Shrink] finds
// the shortest list of steps that still fails.
package soak
