using System.Text.Json;

namespace Dmb.Tests.Sockets;

/// <summary>What several tests of sockets expect, and what they ask the node.</summary>
internal static class Expect
{
    public static void Accepted(string answer)
    {
        Assert.Matches("""^\{"ack":[^,]+,"ok":true,"data":.+}$""", answer);
    }

    public static void Published(string answer)
    {
        Assert.Matches("""^\{"ack":[^,]+,"ok":true,"data":\{"id":"[0-9a-f-]{36}"}}$""", answer);
    }

    public static void Refused(string code, string answer)
    {
        Assert.Matches(
            $$$""""^\{"ack":[^,]+,"ok":false,"error":\{"code":"{{{code}}}","message":"([^"\\]|\\.)+","retry":false}}$"""",
            answer
        );
    }

    public static void Failed(string code, string text)
    {
        Assert.Matches($$$""""^\{"event":"failed","data":\{"code":"{{{code}}}","msg":"([^"\\]|\\.)+"}}$"""", text);
    }

    /// <summary>The node says goodbye and closes with the same code; what came before is dropped.</summary>
    public static async Task ClosedAsync(int code, bool reconnect, TestClient client)
    {
        Assert.Equal(code, (await client.ReadCloseAsync()).Code);
        var flag = reconnect ? "true" : "false";
        Assert.Matches(
            $$$""""^\{"event":"bye","data":\{"code":{{{code}}},"reconnect":{{{flag}}},"after_ms":\d+}}$"""",
            (await client.ReadAllAsync())[^1]
        );
    }

    public static async Task<int> SessionsInAsync(this Node node, string room)
    {
        var answer = await node.Http.GetStringAsync(new Uri(node.Url, "/rooms/" + Uri.EscapeDataString(room)));
        using var json = JsonDocument.Parse(answer);
        return json.RootElement.GetProperty("sessions").GetInt32();
    }

    /// <summary>Asks again and again until that many sessions are in a room: leaving it is told to nobody.</summary>
    public static async Task UntilSessionsInAsync(this Node node, string room, int sessions, Action? meanwhile = null)
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        while (await node.SessionsInAsync(room) != sessions)
        {
            patience.Token.ThrowIfCancellationRequested();
            meanwhile?.Invoke();
        }
    }
}
