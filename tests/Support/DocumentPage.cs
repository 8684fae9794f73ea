using System.Text.RegularExpressions;

namespace Dmb.Tests.Support;

/// <summary>A page of the documentation, whose blocks a test types and compares.</summary>
internal sealed partial class DocumentPage
{
    private const string Uuid = "019aa8a5-0f54-7d5e-b7b8-6f3d1e9a2c41";
    private readonly string _text;

    private DocumentPage(string text) => _text = text;

    /// <param name="path">The page's path in the repository.</param>
    /// <param name="section">
    /// The heading at which reading begins, with its <c>#</c>s; without it, the whole page.
    /// </param>
    public static async Task<DocumentPage> ReadAsync(string path, string? section = null)
    {
        var text = await File.ReadAllTextAsync(Path.Combine(Repository.Root, path));
        if (section is null)
        {
            return new DocumentPage(text);
        }

        var start = text.IndexOf($"\n{section}\n", StringComparison.Ordinal) + 1;
        Assert.True(start > 0, $"{path} has no heading '{section}'.");
        var end = text.IndexOf($"\n{section[..section.IndexOf(' ')]} ", start, StringComparison.Ordinal);
        return new DocumentPage(end < 0 ? text[start..] : text[start..end]);
    }

    /// <summary>The commands, with other ports in the place of the page's.</summary>
    public string[] Commands(int port, int redisPort = 6380) =>
        [
            .. Blocks("sh")
                .Select(block => Port().Replace(block, match => $"{(match.Value == "6380" ? redisPort : port)}")),
        ];

    /// <summary>The blocks of one language, such as <c>json</c> or <c>text</c>.</summary>
    public string[] Blocks(string language) =>
        [
            .. Block()
                .Matches(_text)
                .Where(block => block.Groups[1].Value == language)
                .Select(block => block.Groups[2].Value),
        ];

    /// <summary>
    /// A text with the same message id, bkid, epoch and retry time in the place of all of them, so that two runs
    /// compare equal.
    /// </summary>
    public static string Masked(string text)
    {
        text = MessageId().Replace(text.Replace("%20", " ", StringComparison.Ordinal), Uuid);
        return Retry().Replace(Epoch().Replace(Bkid().Replace(text, "5a1f…"), "k3f9:"), "retry: 1729");
    }

    [GeneratedRegex("```(\\w+)\n(.*?)\n```", RegexOptions.Singleline)]
    private static partial Regex Block();

    [GeneratedRegex("6380|8082")]
    private static partial Regex Port();

    [GeneratedRegex("retry: [0-9]+")]
    private static partial Regex Retry();

    [GeneratedRegex("[0-9a-f]{32}")]
    private static partial Regex Bkid();

    [GeneratedRegex("(?<=[=\"])[0-9a-z]{4,6}:(?=[0-9])")]
    private static partial Regex Epoch();

    [GeneratedRegex("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")]
    private static partial Regex MessageId();
}
