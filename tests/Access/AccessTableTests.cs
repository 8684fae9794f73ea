using System.Net;
using System.Text.Json;

namespace Dmb.Tests.Access;

/// <summary>docs/access.md: each cell of its table is what happens.</summary>
public sealed class AccessTableTests(GuardedNode guarded) : IClassFixture<GuardedNode>
{
    private const string Yes = "yes";

    public static TheoryData<string, string, string> Cells()
    {
        var rows = File.ReadLines(Path.Combine(Repository.Root, "docs", "access.md"))
            .SkipWhile(line => !line.StartsWith("| what |", StringComparison.Ordinal))
            .Select(line =>
                line.Trim('|')
                    .Split('|')
                    .Select(cell => cell.Replace("`", "", StringComparison.Ordinal).Trim())
                    .ToArray()
            )
            .ToArray();
        var cells = new TheoryData<string, string, string>();
        foreach (var row in rows[2..])
        {
            for (var i = 1; i < row.Length; i++)
            {
                cells.Add(row[0], rows[0][i], row[i]);
            }
        }

        return cells;
    }

    [Theory]
    [MemberData(nameof(Cells))]
    public async Task Each_cell_of_the_access_table_holds(string what, string caller, string outcome)
    {
        var bkid = await RegisterBackendAsync();
        what = what.Replace("{bkid}", bkid, StringComparison.Ordinal);
        var (verb, rest) = what.Split(' ', 2) is [var first, var second]
            ? (first, second)
            : throw new InvalidDataException(what);
        var happened = verb is "GET" or "POST" or "PUT" or "DELETE"
            ? await AskAsync(verb, rest, caller)
            : await SayAsync(verb, rest, caller, bkid);
        Assert.Equal(outcome, happened);
    }

    [Fact]
    public void The_table_has_every_route_and_every_frame()
    {
        var whats = Cells().Select(cell => cell.Data.Item1.Split('?')[0]).ToHashSet();
        foreach (var route in OpenApiRoutes())
        {
            Assert.Contains(whats, what => Fits(what, route));
        }

        string[] frames =
        [
            "subscribe",
            "configure",
            "unsubscribe",
            "register",
            "ping",
            "shout",
            "notify_users",
            "call",
            "dmb:connect",
            "dmb:message",
            "dmb:reconnect",
            "dmb:broadcast",
            "dmb:direct",
            "dmb:disconnect",
        ];
        Assert.All(frames, frame =>
            Assert.Contains(whats, what => what.StartsWith(frame + " ", StringComparison.Ordinal))
        );
    }

    /// <summary>The routes of the contract, such as <c>GET /rooms/{room}</c>, without that of the sockets.</summary>
    private static IEnumerable<string> OpenApiRoutes()
    {
        var path = "";
        foreach (
            var line in File.ReadLines(Path.Combine(Repository.Root, "openapi.yaml"))
                .SkipWhile(line => line != "paths:")
                .TakeWhile(line => line != "components:")
        )
        {
            path = line.TrimStart(' ', '\'').StartsWith('/') ? line.Trim(' ', ':', '\'') : path;
            if (line is "    get:" or "    post:" or "    put:" or "    delete:" && path is not ("/ws" or "/socket.io"))
            {
                yield return $"{line.Trim(' ', ':').ToUpperInvariant()} {path}";
            }
        }
    }

    private static bool Fits(string what, string route)
    {
        var (parts, wanted) = (what.Split('/'), route.Split('/'));
        return parts.Length == wanted.Length
            && parts.Zip(wanted).All(pair => pair.First == pair.Second || pair.Second.StartsWith('{'));
    }

    private async Task<string> RegisterBackendAsync()
    {
        using var registered = await guarded.AskAsync(
            "POST",
            "/register/backend",
            "admin key",
            """{"name":"billing"}"""
        );
        Assert.Equal(HttpStatusCode.Created, registered.StatusCode);
        return JsonElement.Parse(await registered.Content.ReadAsStringAsync()).GetProperty("bkid").GetString()!;
    }

    private async Task<string> AskAsync(string method, string path, string caller)
    {
        if (method == "DELETE" && path == "/register/mine")
        {
            using var registered = await guarded.AskAsync("POST", "/register", "admin key", """{"event":"mine"}""");
            registered.EnsureSuccessStatusCode();
        }

        var body = (method, path) switch
        {
            ("POST", "/webhooks") => """{"url":"https://1.1.1.1/","rooms":["nowhere"]}""",
            ("POST", "/register") => """{"event":"mine"}""",
            ("POST", "/register/backend") => """{"name":"billing"}""",
            ("POST", "/_notify") => """[{"event":"call","data":1}]""",
            ("POST", _) => """{"data":1}""",
            _ => null,
        };
        using var response = await guarded.AskAsync(method, path, caller, body);
        if (response.IsSuccessStatusCode || response.StatusCode == HttpStatusCode.NotFound)
        {
            // What is not there was not refused.
            return Yes;
        }

        var code = JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("code").GetString()!;
        Assert.Equal(
            code == "unauthenticated" ? HttpStatusCode.Unauthorized : HttpStatusCode.Forbidden,
            response.StatusCode
        );
        Assert.Equal(code == "unauthenticated" ? "Bearer" : "", response.Headers.WwwAuthenticate.ToString());
        return code;
    }

    private async Task<string> SayAsync(string @event, string data, string caller, string bkid)
    {
        await using var client = await guarded.ConnectAsync(caller);
        var parts = data.Split(" after ");
        switch (parts is [_, var before] ? before : "")
        {
            case "dmb:connect":
                await client.AckAsync("dmb:connect", $$"""{"service":"{{bkid}}","user":"ann"}""");
                break;
            case "dmb:reconnect":
                await client.AckAsync("dmb:reconnect", """{"name":"billing"}""");
                break;
        }

        var ack = JsonElement.Parse(await client.AckAsync(@event, parts[0].Split(" without ")[0]));
        return ack.GetProperty("ok").GetBoolean() ? Yes : ack.GetProperty("error").GetProperty("code").GetString()!;
    }
}
