export default { title: 'VitePress', cleanUrls: true, themeConfig: { nav: [{ text: 'Guide', link: '/guide' }] } };
