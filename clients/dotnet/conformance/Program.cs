// The driver of this client for ../../conformance: commands come as lines of JSON, events and answers go the same way.

using System.Text.Json;
using System.Text.Json.Nodes;
using Dmb.Client;

DmbClient? client = null;
string? token = null;
List<Task> running = [];
while (await Console.In.ReadLineAsync() is { } line)
{
    var command = JsonNode.Parse(line)!.AsObject();
    running.Add(AnswerAsync((int)command["id"]!, command));
}

if (client is not null)
{
    await client.DisposeAsync();
}

return;

async Task AnswerAsync(int id, JsonObject command)
{
    try
    {
        Tell(new JsonObject { ["answer"] = id, ["data"] = await DoAsync(command) });
    }
    catch (DmbException e)
    {
        Tell(
            new JsonObject
            {
                ["answer"] = id,
                ["error"] = new JsonObject { ["code"] = e.Code },
            }
        );
    }
}

async Task<JsonNode?> DoAsync(JsonObject command)
{
    switch ((string)command["do"]!)
    {
        case "open":
            Open(command);
            return null;
        case "token":
            token = (string)command["token"]!;
            return null;
        case "join":
            await client!.JoinAsync(Texts(command["rooms"]));
            return null;
        case "leave":
            await client!.LeaveAsync(Texts(command["rooms"]));
            return null;
        case "enter":
            await client!.EnterAsync((string)command["service"]!, (string)command["user"]!);
            return null;
        case "send":
            return Node(await client!.SendAsync((string)command["event"]!, command["data"]?.DeepClone()));
        case "say":
            return Node(await client!.SayAsync(command["data"]?.DeepClone()));
        case "broadcast":
            return Node(await client!.BroadcastAsync(command["data"]?.DeepClone()));
        case "direct":
            return Node(await client!.DirectAsync((string)command["user"]!, command["data"]?.DeepClone()));
        case "positions":
            return new JsonObject(client!.Positions.Select(one => KeyValuePair.Create(one.Key, (JsonNode?)one.Value)));
        case "bkid":
            return client!.Bkid;
        case "close":
            await client!.DisposeAsync();
            return null;
        case var other:
            throw new InvalidOperationException($"No command is called {other}.");
    }
}

void Open(JsonObject command)
{
    token = (string?)command["token"];
    var options = new DmbClientOptions
    {
        Urls = [.. Texts(command["urls"]).Select(url => new Uri(url))],
        Rooms = [.. Texts(command["rooms"])],
        Backoff = TimeSpan.FromMilliseconds(50),
        Backend = command["backend"] is { } backend ? new DmbBackend { Name = (string)backend["name"]! } : null,
    };
    if (command["service"] is { } service)
    {
        options.Services[(string)service!] = (string)command["user"]!;
    }

    if (command["blocked"] is not null)
    {
        options.ConfigureSocket = _ => throw new InvalidOperationException("blocked");
    }

    if (token is not null)
    {
        options.Token = _ =>
        {
            Tell(new JsonObject { ["asked"] = new JsonObject() });
            return ValueTask.FromResult(token);
        };
    }

    client = new DmbClient(options);
    running.Add(TellAllAsync(client));
}

async Task TellAllAsync(DmbClient from)
{
    try
    {
        await foreach (var notice in from.ReadAllAsync())
        {
            Tell(Told(notice));
        }
    }
    catch (DmbException)
    {
        // It was refused: the state said so.
    }
}

static JsonObject Told(DmbNotice notice) =>
    notice switch
    {
        DmbMessage one => Event(
            "message",
            ("event", one.Event),
            ("data", Node(one.Data)),
            ("id", one.Id),
            ("room", one.Room),
            ("pos", one.Position)
        ),
        DmbGap one => Event("gap", ("room", one.Room), ("lost", one.Lost), ("why", one.Why)),
        DmbResumed one => Event(
            "resumed",
            ("room", one.Room),
            ("missed", one.Missed),
            ("got", one.Got),
            ("lost", one.Lost),
            ("why", one.Why)
        ),
        DmbState one => Event(
            "state",
            ("state", one.State.ToString().ToLowerInvariant()),
            ("transport", one.Transport == DmbTransport.WebSocket ? "ws" : "sse"),
            ("why", one.Why)
        ),
        DmbUplink one => Event("uplink", ("type", one.Type), ("user", one.User), ("data", Node(one.Data))),
        DmbBrokerEvent one => Event("event", ("event", one.Event), ("data", Node(one.Data))),
        DmbFailure one => Event("error", ("code", one.Error.Code)),
        _ => throw new InvalidOperationException($"{notice}"),
    };

static JsonObject Event(string type, params (string Name, JsonNode? Value)[] members) =>
    new() { [type] = new JsonObject(members.Select(one => KeyValuePair.Create(one.Name, one.Value))) };

static JsonNode? Node(JsonElement element) => JsonNode.Parse(element.GetRawText());

static string[] Texts(JsonNode? array) => [.. (array?.AsArray() ?? []).Select(text => (string)text!)];

static void Tell(JsonObject value) => Console.Out.WriteLine(value.ToJsonString());
