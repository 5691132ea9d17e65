// A requester that is written with the npm package `@zeldafan0225/ai_horde` as it comes.
const { AIHorde } = require("@zeldafan0225/ai_horde");

const [key, model] = process.argv.slice(2);
const say = (what, facts) => console.log(JSON.stringify({ what, ...facts }));

async function main() {
  const horde = new AIHorde({ api_route: `${process.env.AI_HORDE_URL}v2`, client_agent: "trial:1:nobody" });
  const me = await horde.findUser({ token: key });
  say("user", { name: me.username });
  const body = { prompt: "a fox", models: model ? [model] : [], params: { width: 64, height: 64, steps: 4, n: 1 } };
  const asked = await horde.postAsyncImageGenerate(body, { token: key });
  let check;
  do {
    check = await horde.getImageGenerationCheck(asked.id, { force: true });
    await new Promise((resolve) => setTimeout(resolve, 500));
  } while (!check.done);
  const status = await horde.getImageGenerationStatus(asked.id, { force: true });
  const picture = await fetch(status.generations[0].img);
  say("generated", { state: status.generations[0].state, bytes: (await picture.arrayBuffer()).byteLength });
  const cancelled = await horde.deleteImageGenerationRequest(asked.id);
  say("cancelled", { done: cancelled.done });
  try {
    await horde.postAsyncImageGenerate({ prompt: "" }, { token: key });
  } catch (error) {
    say("refused", { status: error.status, rc: error.rawError.rc });
  }
  say("looked", { models: (await horde.getModels()).length, workers: (await horde.getWorkers()).length });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
