// Where the provider keeps sessions, grants and tokens: one map in memory, with the one thing that
// the provider itself cannot do, which is to end everything that one person holds.

export class Memory {
  #rows = new Map();

  // The class that oidc-provider asks for; one instance per model over the same rows.
  get adapter() {
    const memory = this;
    return class {
      constructor(model) {
        this.model = model;
      }
      async upsert(id, payload, expiresIn) {
        const until = Number.isFinite(expiresIn) ? Date.now() + expiresIn * 1000 : Infinity;
        memory.#rows.set(`${this.model}:${id}`, { model: this.model, payload, until });
      }
      async find(id) {
        return memory.#live(`${this.model}:${id}`);
      }
      async findByUid(uid) {
        return memory.#where((row) => row.model === this.model && row.payload.uid === uid)[0]?.payload;
      }
      async findByUserCode() {
        return undefined;
      }
      async consume(id) {
        const payload = memory.#live(`${this.model}:${id}`);
        if (payload) payload.consumed = Math.floor(Date.now() / 1000);
      }
      async destroy(id) {
        memory.#rows.delete(`${this.model}:${id}`);
      }
      async revokeByGrantId(grant) {
        memory.#drop((row) => row.payload.grantId === grant);
      }
    };
  }

  // The live sign-in sessions of one person, without the cookie's value.
  sessions(sub) {
    return this.#where((row) => row.model === 'Session' && row.payload.accountId === sub).map(
      ({ payload }) => ({
        id: payload.uid,
        signed_in_at: new Date(payload.loginTs * 1000).toISOString(),
        clients: Object.keys(payload.authorizations ?? {}),
      }),
    );
  }

  // Ends all sessions, grants and tokens of one person, and interactions that are under way. Grants
  // go first: a refresh in flight then writes a token whose grant is gone, and that is inactive.
  end(sub) {
    const of = (model) => (row) => row.model === model && row.payload.accountId === sub;
    const grants = this.#drop(of('Grant'));
    const sessions = this.#drop(of('Session'));
    const tokens = this.#drop((row) => row.payload.accountId === sub);
    this.#drop((row) => row.model === 'Interaction' && row.payload.session?.accountId === sub);
    return { sessions, grants, tokens };
  }

  #live(key) {
    const row = this.#rows.get(key);
    if (row && row.until <= Date.now()) {
      this.#rows.delete(key);
      return undefined;
    }
    return row?.payload;
  }

  #where(test) {
    return [...this.#rows.values()].filter((row) => row.until > Date.now() && test(row));
  }

  #drop(test) {
    let dropped = 0;
    for (const [key, row] of this.#rows) {
      if (test(row)) {
        this.#rows.delete(key);
        dropped += 1;
      }
    }
    return dropped;
  }
}
