// Who is in the conference: a snapshot, then numbered deltas. It tells what each of them changed for a person to see.

/** @import { Delta, Participant } from "./messages.js" */

/** @typedef {{ joined: Participant[], left: Participant[], all: Participant[] }} RosterChange */

export class Roster {
  /** Oldest first. @type {Map<string, Participant>} */ #participants = new Map();
  #seq = 0;

  /** Everybody present, oldest first. */
  get all() {
    return [...this.#participants.values()];
  }

  /**
   * @param {number} seq
   * @param {Participant[]} participants
   * @returns {RosterChange}
   */
  takeState(seq, participants) {
    const before = this.#participants;
    this.#seq = seq;
    this.#participants = new Map(participants.map((participant) => [participant.id, participant]));
    const joined = this.all.filter(({ id }) => !before.has(id));
    const left = [...before.values()].filter(({ id }) => !this.#participants.has(id));
    return { joined, left, all: this.all };
  }

  /**
   * `null`: something was missed, and only a new snapshot tells what.
   *
   * @param {Delta} delta
   * @returns {RosterChange | null}
   */
  takeDelta(delta) {
    if (delta.seq !== this.#seq + 1) return null;
    this.#seq = delta.seq;
    const left = delta.left.map((id) => this.#participants.get(id)).filter((gone) => gone !== undefined);
    for (const gone of left) this.#participants.delete(gone.id);
    // A snapshot may have shown a newcomer before the delta that names it.
    const joined = delta.joined.filter(({ id }) => !this.#participants.has(id));
    for (const participant of [...delta.joined, ...delta.changed]) this.#participants.set(participant.id, participant);
    return { joined, left, all: this.all };
  }
}
