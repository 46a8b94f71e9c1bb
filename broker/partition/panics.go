package partition

import "runtime/debug"

// panicked counts and logs what somebody has panicked with and was kept from ending the broker (I-32). It is called by who recovers,
// while the stack is still that of the panic.
func (m *Manager) panicked(what string, value any, about ...any) {
	m.panics.Add(1)
	m.o.Logger.Error(what, append(about, "panic", value, "stack", string(debug.Stack()))...)
}
