using System.Text.RegularExpressions;

namespace Dmb.Tests.Documents;

/// <summary>The Markdown files of the repository point at files and headings that exist.</summary>
public sealed partial class LinkTests
{
    private static readonly string[] Folders =
    [
        "",
        "docs",
        "docs/adr",
        "samples",
        "bench",
        "deploy",
        "clients/js",
        "clients/conformance",
        "clients/dotnet",
    ];

    public static TheoryData<string> Pages =>
        [
            .. Folders
                .Select(folder => Path.Combine(Repository.Root, folder))
                .Where(Directory.Exists)
                .SelectMany(folder => Directory.GetFiles(folder, "*.md"))
                .Select(page => Path.GetRelativePath(Repository.Root, page)),
        ];

    [Theory]
    [MemberData(nameof(Pages))]
    public async Task Each_link_of_a_page_leads_somewhere(string page)
    {
        var path = Path.Combine(Repository.Root, page);
        foreach (Match link in Link().Matches(Code().Replace(await File.ReadAllTextAsync(path), "")))
        {
            var (file, heading) = link.Groups[1].Value.Split('#', 2) is [var before, var after]
                ? (before, after)
                : (link.Groups[1].Value, "");
            var target = file.Length == 0 ? path : Path.GetFullPath(Path.Combine(Path.GetDirectoryName(path)!, file));
            Assert.True(
                File.Exists(target) || Directory.Exists(target),
                $"{page} links to {file}, which does not exist."
            );
            if (heading.Length > 0)
            {
                Assert.Contains(
                    heading,
                    Heading().Matches(await File.ReadAllTextAsync(target)).Select(one => Anchor(one.Groups[1].Value))
                );
            }
        }
    }

    [Fact]
    public async Task The_readme_leads_to_every_page_of_docs_for_readers()
    {
        var readme = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "README.md"));
        var pages = Directory
            .GetFiles(Path.Combine(Repository.Root, "docs"), "*.md")
            .Select(page => Path.GetFileName(page));
        var linked = readme + await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs/operations.md"));
        Assert.All(pages, page => Assert.Contains($"{page})", linked, StringComparison.Ordinal));
    }

    private static string Anchor(string heading) =>
        NotInAnchor().Replace(heading.ToLowerInvariant(), "").Replace(' ', '-');

    [GeneratedRegex(@"\]\((?![a-z]+:)([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex("^```.*?^```|`[^`\n]*`", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Code();

    [GeneratedRegex("^#+ (.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"[^\w\- ]")]
    private static partial Regex NotInAnchor();
}
