using System.Text;
using System.Text.Json.Nodes;

namespace Dmb.Tests.Clients;

/// <summary>
/// Runs a file of clients/conformance with one client: its steps change the world, command the client, and say what
/// the client must tell. clients/conformance/README.md says what the steps are.
/// </summary>
public sealed class Scenario : IAsyncDisposable
{
    private const string Secret = "a-key-of-the-scenario";

    private readonly JsonObject _file;
    private readonly List<NodeProcess> _nodes = [];
    private readonly List<FaultProxy> _proxies = [];
    private readonly Dictionary<string, JsonNode?> _variables = [];
    private readonly Dictionary<string, int> _later = [];
    private readonly Dictionary<string, TestClient> _users = [];
    private RedisServer? _redis;
    private ClientDriver _driver = null!;

    private Scenario(JsonObject file) => _file = file;

    /// <summary>Runs the file from its first step to its last, and checks that the client told nothing more.</summary>
    public static async Task RunAsync(string path, Func<ChildProcess> startDriver)
    {
        await using var scenario = new Scenario(JsonNode.Parse(await File.ReadAllTextAsync(path))!.AsObject());
        await scenario.StartAsync();
        scenario._driver = new ClientDriver(startDriver());
        var step = "";
        try
        {
            foreach (var node in scenario._file["steps"]!.AsArray())
            {
                step = node!.ToJsonString();
                await scenario.StepAsync(scenario.Filled(node).AsObject()).WaitAsync(Node.Patience);
            }

            Assert.Empty(scenario._driver.Left("message", "gap", "uplink", "error"));
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"{step}\n{e.Message}\nThe client told:\n{scenario._driver}", e);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_driver is not null)
        {
            await _driver.DisposeAsync();
        }

        foreach (IAsyncDisposable one in (IAsyncDisposable[])[.. _users.Values, .. _proxies, .. _nodes])
        {
            await one.DisposeAsync();
        }

        if (_redis is not null)
        {
            await _redis.DisposeAsync();
        }
    }

    private async Task StartAsync()
    {
        var count = (int?)_file["nodes"] ?? 1;
        _redis = count > 1 ? await RedisServer.StartAsync() : null;
        var settings = (_file["settings"]?.AsObject() ?? []).Select(one => (one.Key, (string)one.Value!));
        if ((bool?)_file["guarded"] == true)
        {
            settings = settings
                .Append(("DMB_KEYS", $"scenario:{Secret}:admin"))
                .Append(("DMB_JWT_SECRET", Token.Secret));
        }

        for (var i = 0; i < count; i++)
        {
            (string, string)[] redis = _redis is null
                ? [("REDIS_HOST", "none")]
                : [("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", $"{_redis.Port}"), .. NodeProcess.Patient];
            _nodes.Add(await NodeProcess.StartReadyAsync([("DMB_HISTORY_SIZE", "100"), .. redis, .. settings]));
            _proxies.Add(new FaultProxy(_nodes[i].Url.Port));
        }
    }

    private Task StepAsync(JsonObject step) =>
        step.First().Key switch
        {
            "do" => DoAsync(step),
            "answered" => AnsweredAsync(_later[(string)step["answered"]!], step),
            "expect" => ExpectAsync((string)step["expect"]!, step["is"]),
            "publish" => PostAsync($"/_notify/{(string)step["publish"]!}", step["data"]),
            "register" => RegisterAsync((string)step["register"]!),
            "tell" => PostAsync($"/backend/{(string)_variables["$bkid"]!}/messages", step["tell"]),
            "stored" => StoredAsync(step["stored"]!),
            "user" => UserAsync((string)step["user"]!, step),
            "token" => MakeToken(step),
            "network" => ChangeNetwork((string)step["network"]!),
            "node" => EndNodeAsync((string)step["node"]!),
            var key => throw new InvalidDataException($"No step is called {key}."),
        };

    private async Task DoAsync(JsonObject step)
    {
        var command = new JsonObject(
            step.Where(one => one.Key is not ("answer" or "error" or "later" or "as"))
                .Select(one => KeyValuePair.Create(one.Key, one.Value?.DeepClone()))
        );
        if ((string?)command["do"] == "open")
        {
            command["urls"] = new JsonArray([.. _proxies.Select(proxy => (JsonNode)$"http://127.0.0.1:{proxy.Port}")]);
        }

        var number = await _driver.BeginAsync(command);
        if ((string?)step["later"] is { } name)
        {
            _later[name] = number;
            return;
        }

        await AnsweredAsync(number, step);
    }

    private async Task AnsweredAsync(int command, JsonObject step)
    {
        var answer = await _driver.AnswerAsync(command);
        Assert.Equal((string?)step["error"], (string?)answer["error"]?["code"]);
        AssertLike(step["answer"], answer["data"]);
        if ((string?)step["as"] is { } variable)
        {
            _variables[variable] = answer["data"]?.DeepClone();
        }
    }

    private async Task ExpectAsync(string type, JsonNode? expected)
    {
        var told = await _driver.NextAsync(type);

        // A state is waited for, any other event must be the next of its type.
        while (type is "state" or "event" && !IsLike(expected, told))
        {
            told = await _driver.NextAsync(type);
        }

        AssertLike(expected, told);
    }

    private async Task RegisterAsync(string name) =>
        _variables["$bkid"] = (await PostAsync("/register/backend", new JsonObject { ["name"] = name }))[
            "bkid"
        ]!.DeepClone();

    private async Task StoredAsync(JsonNode expected)
    {
        var stored = JsonNode.Parse(
            await SendAsync(HttpMethod.Get, $"/backend/{(string)_variables["$bkid"]!}/uplink/stored", null)
        )!;
        Assert.Contains(stored.AsArray(), one => IsLike(expected, one!["uplink"]));
    }

    private async Task UserAsync(string name, JsonObject step)
    {
        if (!_users.TryGetValue(name, out var user))
        {
            _users[name] = user = await Alive.ConnectAsync();
            var data = new JsonObject { ["service"] = (string)_variables["$bkid"]!, ["user"] = name };
            await user.AckAsync("dmb:connect", data.ToJsonString());
            await user.ReadAllAsync();
        }

        if (step.TryGetPropertyValue("says", out var said))
        {
            var data = new JsonObject { ["data"] = said?.DeepClone() };
            Assert.Contains(
                "\"ok\":true",
                await user.AckAsync("dmb:message", data.ToJsonString()),
                StringComparison.Ordinal
            );
        }

        if (step["hears"] is { } expected)
        {
            AssertLike(expected, JsonNode.Parse(await user.ReadAsync()));
        }
    }

    private Task MakeToken(JsonObject step)
    {
        var rooms = step["roles"]?.ToJsonString() ?? "[]";
        var expires = TimeProvider.System.GetUtcNow().AddSeconds((int)step["seconds"]!);
        _variables[(string)step["token"]!] = Token.Of("ann", expires, $"\"roles\":{rooms}");
        return Task.CompletedTask;
    }

    private Task ChangeNetwork(string change)
    {
        foreach (var proxy in _proxies)
        {
            Action act = change switch
            {
                "cut" => proxy.Cut,
                "refuse" => proxy.Refuse,
                "swallow" => () => proxy.Swallow(Way.Both),
                "heal" => proxy.Heal,
                _ => throw new InvalidDataException($"The network can't {change}."),
            };
            act();
        }

        return Task.CompletedTask;
    }

    /// <summary>Ends the node that the client is connected to.</summary>
    private async Task EndNodeAsync(string how)
    {
        var node = _nodes[Math.Max(0, _proxies.FindIndex(proxy => proxy.Connections > 0))];
        if (how == "kill")
        {
            await node.KillAsync();
        }
        else
        {
            await node.TerminateAsync();
        }

        var index = _nodes.IndexOf(node);
        _nodes.RemoveAt(index);
        await node.DisposeAsync();
        await _proxies[index].DisposeAsync();
        _proxies.RemoveAt(index);
    }

    private NodeProcess Alive => _nodes[^1];

    private async Task<JsonNode> PostAsync(string path, JsonNode? body) =>
        JsonNode.Parse(await SendAsync(HttpMethod.Post, path, body?.ToJsonString() ?? "null"))!;

    private async Task<string> SendAsync(HttpMethod method, string path, string? body)
    {
        using var request = new HttpRequestMessage(method, new Uri(Alive.Url, path));
        request.Content = body is null ? null : new StringContent(body, Encoding.UTF8, "application/json");
        request.Headers.Add("X-Api-Key", Secret);
        using var response = await Alive.Http.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, text);
        return text;
    }

    /// <summary>The step, with values in the place of its variables, <c>$name</c>.</summary>
    private JsonNode Filled(JsonNode node)
    {
        switch (node)
        {
            case JsonObject members:
                return new JsonObject(
                    members.Select(one =>
                        KeyValuePair.Create(
                            one.Key,
                            one.Key is "as" or "token" && node["do"] is null || one.Value is null
                                ? one.Value?.DeepClone()
                                : Filled(one.Value)
                        )
                    )
                );
            case JsonArray items:
                return new JsonArray([.. items.Select(one => one is null ? null : Filled(one))]);
            default:
                return
                    node.GetValueKind() == System.Text.Json.JsonValueKind.String
                    && _variables.TryGetValue((string)node!, out var value)
                    ? value!.DeepClone()
                    : node.DeepClone();
        }
    }

    private static void AssertLike(JsonNode? expected, JsonNode? actual) =>
        Assert.True(
            IsLike(expected, actual),
            $"Expected {expected?.ToJsonString()}, not {actual?.ToJsonString() ?? "null"}."
        );

    /// <summary>Whether all that is expected is there; members beside them don't matter.</summary>
    private static bool IsLike(JsonNode? expected, JsonNode? actual) =>
        expected switch
        {
            null => true,
            JsonObject members => actual is JsonObject found
                && members.All(one =>
                    one.Value is null
                        ? found.TryGetPropertyValue(one.Key, out var value) && value is null
                        : IsLike(one.Value, found[one.Key])
                ),
            _ => JsonNode.DeepEquals(expected, actual),
        };
}
