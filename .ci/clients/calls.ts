// A set, a round trip of the response, a remove, a read and a 422 by the generated client.

import {
  AuthenticationTypeEnum,
  Configuration,
  DistributorToJSON,
  DistributorsApi,
  InvalidBodyFromJSON,
  ResponseError,
  Update,
  UpdateFromJSON,
} from "./index";

declare const process: { env: Record<string, string> };

const id = "39e8003c-6342-4fd3-97a1-3f2a7b437d0a";
const api = new DistributorsApi(new Configuration({ basePath: process.env.URL, accessToken: process.env.TOKEN }));

function update(body: Update, ifMatch?: string) {
  return api.updateDistributor({ id, xTargetServer: "integration", update: body, ifMatch });
}

function check(holds: boolean, value: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(value));
}

async function main() {
  const authentication = { type: AuthenticationTypeEnum.Basic, username: "user", password: "pass" };
  const set = await update({ meta: { host: "https://example.com222", path: "/webhook", method: 2, authentication } });
  check(set.meta?.method === "POST" && set.meta.authentication?.type === 1, set);
  console.log("set");

  const again = await update(UpdateFromJSON(DistributorToJSON(set)));
  check(JSON.stringify(again.meta) === JSON.stringify(set.meta) && again.updatedAt! > set.updatedAt!, again);
  console.log("round-trip");

  const removed = await update({ meta: null }, `"${again.updatedAt}"`);
  check(removed.meta === null && removed.updatedAt! > again.updatedAt!, removed);
  console.log("remove");

  const read = await update({});
  check(JSON.stringify(read) === JSON.stringify(removed), read);
  console.log("read");

  const error = await update({ meta: { host: "http://localhost", path: "/" } }).catch((error: unknown) => error);
  check(error instanceof ResponseError, error);
  const problem = InvalidBodyFromJSON(await error.response.json());
  check(problem.code === "invalid_body" && problem.errors?.map((each) => each.pointer).join() === "/meta/host", problem);
  console.log(error.response.status);
}

void main();
