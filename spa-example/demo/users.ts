/** The people of the demo. The sign-in page shows their passwords, so there is nothing to hide here. */

export interface DemoUser {
  username: string;
  password: string;
  /** What a strong sign-in asks for beside the password. */
  pin: string;
  name: string;
  givenName: string;
  familyName: string;
  email: string;
}

export const demoUsers: readonly DemoUser[] = [
  {
    username: 'alice',
    password: 'alice',
    pin: '1234',
    name: 'Alice Archer',
    givenName: 'Alice',
    familyName: 'Archer',
    email: 'alice@example.com',
  },
  {
    username: 'bob',
    password: 'bob',
    pin: '5678',
    name: 'Bob Bailey',
    givenName: 'Bob',
    familyName: 'Bailey',
    email: 'bob@example.com',
  },
];

/** Finds the person with this name and password, or `undefined`. */
export function verifyPassword(username: string, password: string): DemoUser | undefined {
  return demoUsers.find((user) => user.username === username && user.password === password);
}

/** Finds a person by the subject that the provider puts into tokens. */
export function findUser(subject: string): DemoUser | undefined {
  return demoUsers.find((user) => user.username === subject);
}
